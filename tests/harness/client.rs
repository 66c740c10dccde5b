//! A client that shows what was on the wire, as HTTP libraries do not.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
};

use super::PATIENCE;

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<u8>,
    body: Vec<u8>,
}

/// A connection, and what has been read ahead on it.
pub(crate) struct Connection(BufReader<TcpStream>);

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// In their order; names in lower case, values as latin-1.
    pub(crate) headers: Vec<(String, String)>,
}

/// A whole response.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// Sends a GET on a connection of its own.
pub(crate) fn get(port: u16, target: &str) -> Response {
    Request::new("GET", target).send(port)
}

/// Sends a POST on a connection of its own.
pub(crate) fn post(port: u16, target: &str, body: impl AsRef<[u8]>) -> Response {
    Request::new("POST", target).body(body).send(port)
}

// === impl Request ===

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: b"Host: test.example\r\n".to_vec(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .extend([name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.header("Content-Length", length)
    }

    /// A body of these chunks.
    pub(crate) fn chunked<'a>(mut self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        for chunk in chunks {
            self.body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            self.body.extend([chunk, b"\r\n"].concat());
        }
        self.body.extend(b"0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked")
    }

    /// What goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let line = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        [line.as_bytes(), &self.headers, b"\r\n", &self.body].concat()
    }

    /// Sends it on a connection of its own.
    pub(crate) fn send(&self, port: u16) -> Response {
        self.try_send(port)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.target))
    }

    pub(crate) fn try_send(&self, port: u16) -> io::Result<Response> {
        let mut connection = Connection::try_open(port)?;
        self.send_on(&mut connection)
    }

    pub(crate) fn send_on(&self, connection: &mut Connection) -> io::Result<Response> {
        // A server may answer and close before it has read all of the request.
        let sent = connection.try_send(self.bytes());
        let response = connection.response(&self.method);
        if response.is_err() {
            sent?;
        }
        response
    }
}

// === impl Connection ===

impl Connection {
    pub(crate) fn open(port: u16) -> Self {
        Self::try_open(port).unwrap()
    }

    pub(crate) fn try_open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Opens a connection and sends a request.
    pub(crate) fn begin(port: u16, request: &Request) -> Self {
        let mut connection = Self::open(port);
        connection.send(request.bytes());
        connection
    }

    pub(crate) fn send(&mut self, data: impl AsRef<[u8]>) {
        self.try_send(data).unwrap();
    }

    pub(crate) fn try_send(&mut self, data: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(data.as_ref())
    }

    /// Sends no more.
    pub(crate) fn half_close(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// The next response, to a request of this method.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Response> {
        let head = self.head()?;
        let body = self.body(method, &head)?;
        Ok(Response {
            status: head.status,
            head,
            body,
        })
    }

    /// The body of the response that has this head.
    pub(crate) fn body(&mut self, method: &str, head: &Head) -> io::Result<Vec<u8>> {
        if method == "HEAD" || matches!(head.status, 204 | 304) {
            return Ok(Vec::new());
        }
        if head.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
            return Ok(body);
        }
        if let Some(length) = head.header("content-length") {
            let mut body = vec![0; length.parse().map_err(io::Error::other)?];
            self.0.read_exact(&mut body)?;
            return Ok(body);
        }
        self.rest()
    }

    pub(crate) fn head(&mut self) -> io::Result<Head> {
        let line = self.line()?;
        let mut words = line.splitn(3, ' ');
        let invalid = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no status line: {line:?}"),
            )
        };
        words
            .next()
            .filter(|version| version.starts_with("HTTP/1."))
            .ok_or_else(invalid)?;
        let status = words
            .next()
            .and_then(|status| status.parse().ok())
            .ok_or_else(invalid)?;
        let reason = words.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Head {
                    status,
                    reason,
                    headers,
                });
            }
            let (name, value) = line.split_once(": ").ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("no header: {line:?}"))
            })?;
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    /// One chunk of a body; none at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        self.0.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    /// Everything until the connection is closed.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Exactly so many bytes.
    pub(crate) fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut data = vec![0; length];
        self.0.read_exact(&mut data)?;
        Ok(data)
    }

    /// A line without its end, as latin-1.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            let kind = if line.is_empty() {
                "closed"
            } else {
                "broken off"
            };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, kind));
        }
        line.truncate(line.len() - 2);
        Ok(line.into_iter().map(char::from).collect())
    }
}

// === impl Head ===

impl Head {
    /// The first header of the name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).collect()
    }
}

// === impl Response ===

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        write!(
            f,
            "{} {} {:?} {text:?}",
            self.status, self.head.reason, self.head.headers
        )
    }
}
