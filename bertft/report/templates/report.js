
"use strict";
(() => {
  const PAGE = 40;
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // -- tables: a click on a head sorts by it ---------------------------------------------------------------------------
  const sortable = (cell) => {
    const value = cell.dataset.value;
    return value === undefined ? cell.textContent : Number(value);
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  for (const head of document.querySelectorAll("thead th")) {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = head.closest("table").tBodies[0];
      const column = head.cellIndex;
      const rows = [...body.rows].sort((a, b) => compare(sortable(a.cells[column]), sortable(b.cells[column])));
      body.append(...(up ? rows : rows.reverse()));
    });
  }

  // -- the list of rows ------------------------------------------------------------------------------------------------
  const holder = document.getElementById("rows-data");
  if (!holder) return;
  const rows = JSON.parse(holder.textContent).rows;
  for (const row of rows) {
    const texts = row.texts.map((one) => one.parts.map((part) => part.join(" ")).join(""));
    const plain = row.texts.map((one) => one.parts.map((part) => part[0]).join(""));
    row.searched = [row.at, ...texts, ...plain, ...row.answers.map((one) => one[1])].join("\n").toLowerCase();
  }
  const form = document.getElementById("filters");
  const search = document.getElementById("search");
  const list = document.getElementById("list");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const selects = [];
  const several = new Set(rows.map((row) => row.of)).size > 1;
  let found = rows;
  let shown = 0;

  for (const [title, values] of [
    ["File", (row) => (row.of ? [row.of] : [])],
    ["Kind", (row) => row.kinds],
    ["Gold", (row) => row.gold],
    ["Predicted", (row) => row.predicted],
  ]) {
    const counts = new Map();
    for (const row of rows) for (const value of values(row)) counts.set(value, (counts.get(value) || 0) + 1);
    if (counts.size < 2) continue;
    const label = element("label", `${title} `);
    const select = element("select");
    select.id = `by-${title.toLowerCase()}`;
    select.append(new Option("all", ""));
    const sorted = [...counts].sort((a, b) => b[1] - a[1] || compare(a[0], b[0]));
    sorted.forEach(([value, times], i) => select.append(new Option(`${value} (${times})`, String(i))));
    label.append(select);
    document.getElementById("selects").append(label);
    selects.push({ select, values, names: sorted.map((one) => one[0]) });
  }

  const line = (one) => {
    const text = element("p", undefined, "text");
    text.dir = "auto";
    text.append(element("span", one.name, "name"));
    for (const [string, kinds, label] of one.parts) {
      if (!kinds) {
        text.append(string);
        continue;
      }
      const mark = element("mark", string, kinds);
      mark.title = [kinds.split(" ").join(" and "), label].filter(Boolean).join(": ");
      if (label) mark.append(element("small", label));
      text.append(mark);
    }
    return text;
  };
  const card = (row) => {
    const item = element("li");
    const at = element("div", undefined, "at");
    at.append(element("bdi", row.at));
    if (several && row.of) at.append(element("span", row.of));
    if (row.kinds.length) at.append(element("bdi", row.kinds.join(", ")));
    if (row.score !== null) at.append(element("span", `confidence ${(100 * row.score).toFixed(1)} %`));
    item.append(at, ...row.texts.map(line));
    if (row.answers.length) {
      const told = element("dl", undefined, "told");
      for (const [who, what] of row.answers) {
        const pair = element("div", undefined, who === "gold" ? "gold" : "");
        pair.append(element("dt", who), element("dd"));
        pair.lastChild.append(element("bdi", what));
        told.append(pair);
      }
      item.append(told);
    }
    return item;
  };
  const extend = (focus) => {
    const added = found.slice(shown, shown + PAGE).map(card);
    list.append(...added);
    shown += added.length;
    more.hidden = shown >= found.length;
    if (focus && added.length) {
      added[0].tabIndex = -1;
      added[0].focus();
    }
  };
  const refresh = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = selects.filter((one) => one.select.value !== "");
    found = rows.filter(
      (row) =>
        words.every((word) => row.searched.includes(word)) &&
        chosen.every((one) => one.values(row).includes(one.names[Number(one.select.value)])),
    );
    shown = 0;
    list.replaceChildren();
    count.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    extend(false);
  };
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(refresh, 120);
  });
  form.addEventListener("change", refresh);
  form.addEventListener("reset", () => setTimeout(refresh));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    refresh();
  });
  more.addEventListener("click", () => extend(true));
  refresh();
})();
