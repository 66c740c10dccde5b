//! Applications of frameworks, and a client that all know.

use serde_json::json;

use super::*;

#[test]
fn starlette_is_served() {
    let server = Launch::app("asgi_frameworks:starlette").start();
    let port = server.port();
    server.wait_for_note("starlette begins");
    assert_eq!(get(port, "/state").text(), "hello from the state");
    assert_eq!(
        get(port, "/stream").text(),
        "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"
    );
    assert_eq!(
        get(port, "/mounted/inner").text(),
        "/mounted /mounted/inner"
    );
    assert_eq!(get(port, "/file").body.len(), 1_000_000);
    server.wait_for_note("starlette after the file");
    let connection = Connection::begin(port, &Request::new("GET", "/leave"));
    server.wait_for_note("starlette waits for the client to leave");
    drop(connection);
    server.wait_for_note("starlette saw the client leave");
    server.stop();
}

#[test]
fn fastapi_is_served() {
    let server = Launch::app("asgi_frameworks:api").start();
    let port = server.port();
    let item = Request::new("POST", "/items")
        .header("Content-Type", "application/json")
        .body(r#"{"name": "nail", "price": 1.5}"#)
        .send(port);
    let wanted = json!({"name": "nail", "double": 3.0, "by": "connection"});
    assert_eq!(item.json(), wanted);
    for note in ["opened", "sold nail", "closed"] {
        server.wait_for_note(note);
    }
    assert_eq!(
        get(port, "/sync/7").json(),
        json!({"number": 7, "host": "127.0.0.1"})
    );
    assert_eq!(get(port, "/sync/seven").status, 422);
    assert_eq!(
        get(port, "/openapi.json").json()["info"]["title"],
        "FastAPI"
    );
    server.stop();
}

#[test]
fn django_is_served_as_asgi() {
    let server = Launch::django().arg("--interface", "asgi").start();
    let port = server.port();
    assert_eq!(get(port, "/").status, 200);
    assert!(get(port, "/").text().contains("<html"));
    assert_eq!(get(port, "/nothing/here").status, 404);
    for probe in ["/alive", "/ready"] {
        assert_eq!(get(server.probe_port(), probe).status, 200, "{probe}");
    }
    server.stop();
}

#[test]
fn the_interface_is_what_the_application_looks_like() {
    for (app, interface) in [
        ("asgi_gallery:without_lifespan", "asgi"),
        ("gallery", "wsgi"),
    ] {
        let server = Launch::app(app).start();
        assert_eq!(get(server.port(), "/hello").status, 200, "{app}");
        server.wait_for_line(&format!("interface=\"{interface}\""));
        server.stop();
    }
}

/// A script with [httpx](https://www.python-httpx.org/), which knows the port as `PORT`.
const HTTPX: &str = r#"
import asyncio, os, httpx

async def main():
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{os.environ['PORT']}", timeout=60) as client:
        answers = await asyncio.gather(*(client.post("/echo", content=b"%d" % n * 1000) for n in range(50)))
        assert [a.content for a in answers] == [b"%d" % n * 1000 for n in range(50)]

        async def parts():
            for _ in range(2000):
                yield b"x" * 1000
        answer = await client.post("/count", content=parts())
        assert answer.text == "2000000", answer.text
        answer = await client.get("/stream/2000")
        assert answer.content == b"x" * 2_000_000, len(answer.content)
        async with client.stream("GET", "/endless") as answer:
            async for data in answer.aiter_raw():
                break
        assert (await client.get("/hello")).text == "hello"
        # What comes before an answer is for those who want it.
        assert (await client.get("/hint/one")).text == "hello"

asyncio.run(main())
"#;

#[test]
fn httpx_sends_many_at_once_and_streams_both_ways() {
    let server = gallery().flag("--early-hints").start();
    script(server.port(), HTTPX);
    server.stop();
}

/// Looks at the live pages of the example with httpx and websockets.
pub(super) const LIVE: &str = r#"
import asyncio, functools, httpx, json, os, websockets

port = os.environ["PORT"]

def votes(line):
    return {question["id"]: question["votes"] for question in json.loads(line.removeprefix("data: "))}

async def main():
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        async with client.stream("GET", "/live/events") as events:
            lines = (line async for line in events.aiter_lines() if line)
            before = votes(await lines.__anext__())
            page = (await client.get("/questions/1/")).text
            choice = page.split('name="choice" value="')[1].split('"')[0]
            form = {"choice": choice, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
            assert (await client.post("/questions/1/vote/", data=form)).status_code == 302
            after = votes(await lines.__anext__())
            assert after == {**before, 1: before[1] + 1}, (before, after)

    url, origin = f"ws://127.0.0.1:{port}/ws/chat", f"http://127.0.0.1:{port}"
    connect = functools.partial(websockets.connect, url, origin=origin, open_timeout=60)
    async with connect() as ada, connect() as bob:
        await ada.send('{"name": "Ada", "text": "Hello"}')
        for one in (ada, bob):
            assert json.loads(await one.recv()) == {"name": "Ada", "text": "Hello"}

asyncio.run(main())
"#;

#[test]
fn the_live_pages_of_the_example_tell_of_votes_and_carry_a_chat() {
    let server = Launch::django().arg("--interface", "asgi").start();
    script(server.port(), LIVE);
    for page in ["/live/", "/chat/"] {
        assert_eq!(get(server.port(), page).status, 200, "{page}");
    }
    let log = server.stop().stderr;
    assert!(!log.contains("Traceback"), "{log}");
}
