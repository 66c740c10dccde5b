"use strict";

const table = document.getElementById("votes");
const state = document.getElementById("state");
// The browser connects again by itself.
const events = new EventSource(table.dataset.events);
events.onopen = () => { state.textContent = "connected"; };
events.onerror = () => { state.textContent = "not connected"; };
events.onmessage = (event) => {
  for (const { id, votes } of JSON.parse(event.data)) {
    const cell = table.querySelector(`tr[data-id="${id}"] td`);
    if (cell) cell.textContent = votes;
  }
};
