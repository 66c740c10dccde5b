"use strict";

const messages = document.getElementById("messages");
const name = document.getElementById("name");
const text = document.getElementById("text");
const state = document.getElementById("state");
let socket;

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws/chat`);
  socket.onopen = () => { state.textContent = "connected"; };
  socket.onclose = (event) => {
    state.textContent = `not connected (${event.code})`;
    setTimeout(connect, 1000);
  };
  socket.onmessage = (event) => {
    const said = JSON.parse(event.data);
    const item = document.createElement("li");
    const who = document.createElement("b");
    who.textContent = said.name;
    item.append(who, ` ${said.text}`);
    messages.append(item);
    item.scrollIntoView();
  };
}

document.getElementById("say").onsubmit = (event) => {
  event.preventDefault();
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ name: name.value, text: text.value }));
    text.value = "";
  }
};

connect();
