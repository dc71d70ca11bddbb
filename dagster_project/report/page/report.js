"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const controls = all("[data-choice]");
  const keys = [...new Set(controls.map((control) => control.dataset.choice))];
  const allowed = (key) => controls.filter((control) => control.dataset.choice === key).flatMap((control) =>
    control.tagName === "SELECT" ? [...control.options].map((option) => option.value) : [control.value]);
  const defaults = Object.fromEntries(keys.map((key) => [key, allowed(key)[0]]));
  let chosen = { ...defaults };

  const show = () => {
    for (const part of all(".part")) {
      part.hidden = keys.some((key) => {
        const wanted = part.getAttribute("data-when-" + key);
        return wanted !== null && wanted !== chosen[key];
      });
    }
    for (const control of controls) {
      const value = chosen[control.dataset.choice];
      if (control.tagName === "SELECT") control.value = value;
      else control.setAttribute("aria-pressed", String(control.value === value));
    }
  };
  const read = () => {
    const hash = location.hash.slice(1);
    if (/^(s\d+|main)$/.test(hash)) return;
    const wanted = new URLSearchParams(hash);
    chosen = { ...defaults };
    for (const key of keys) {
      if (allowed(key).includes(wanted.get(key))) chosen[key] = wanted.get(key);
    }
    show();
  };
  const choose = (key, value) => {
    chosen[key] = value;
    const different = keys.filter((name) => chosen[name] !== defaults[name]);
    const hash = new URLSearchParams(different.map((name) => [name, chosen[name]])).toString();
    history.replaceState(null, "", "#" + hash);
    show();
  };
  for (const control of controls) {
    const event = control.tagName === "SELECT" ? "change" : "click";
    control.addEventListener(event, () => choose(control.dataset.choice, control.value));
  }
  // The address keeps the choice, so a link to a section moves the view and not the address.
  for (const link of all("nav a, .skip")) {
    link.addEventListener("click", (event) => {
      const target = document.getElementById(link.hash.slice(1));
      event.preventDefault();
      target.scrollIntoView();
      (target.querySelector("h2") || target).focus({ preventScroll: true });
    });
  }
  addEventListener("hashchange", read);
  read();

  // As cards on a phone, cells need their column's name, and tables their roles.
  for (const table of all("table")) {
    table.setAttribute("role", "table");
    const labels = all("thead .sort", table).map((button) => button.textContent);
    for (const part of [table.tHead, table.tBodies[0]]) part.setAttribute("role", "rowgroup");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      [...row.children].forEach((cell, place) => {
        cell.setAttribute("role", cell.tagName === "TH" ? "columnheader" : "cell");
        if (cell.tagName === "TD") cell.dataset.label = labels[place];
      });
    }
  }
  const contents = document.querySelector("nav details");
  contents.open = matchMedia("(min-width: 44rem)").matches;

  const value = (cell) => cell.dataset.sort ?? cell.textContent;
  const sort = (head) => {
    const table = head.closest("table");
    const place = [...head.parentNode.children].indexOf(head);
    const isNumber = head.dataset.kind === "number" || all(`tbody tr td:nth-child(${place + 1})`, table)
      .every((cell) => value(cell) === "" || value(cell) === "–" || Number.isFinite(Number(value(cell))));
    const before = head.getAttribute("aria-sort");
    const order = before === "descending" || (before === null && !isNumber) ? "ascending" : "descending";
    const sign = order === "ascending" ? 1 : -1;
    const rank = (row) => {
      const text = value(row.children[place]);
      if (!isNumber) return text.toLowerCase();
      return text === "" || !Number.isFinite(Number(text)) ? null : Number(text);
    };
    const compare = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (isNumber ? a - b : a.localeCompare(b));
    };
    const rows = [...table.tBodies[0].rows].map((row) => [rank(row), row]);
    rows.sort((a, b) => compare(a[0], b[0]));
    table.tBodies[0].append(...rows.map((row) => row[1]));
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
  };
  for (const button of all("button.sort")) button.addEventListener("click", () => sort(button.closest("th")));

  // A text that a spreadsheet would take for a formula gets an apostrophe before it.
  const field = (text, isNumber) => {
    const safe = !isNumber && /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const csv = (table) => {
    const heads = all("thead th", table);
    const lines = [heads.map((head) => field(head.querySelector(".sort").textContent, false))];
    for (const row of table.tBodies[0].rows) {
      lines.push([...row.children].map((cell, place) => {
        const isNumber = heads[place].dataset.kind === "number" && Number.isFinite(Number(value(cell)));
        return field(isNumber ? value(cell) : cell.textContent, isNumber);
      }));
    }
    return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
  };
  const save = (table) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + csv(table)], { type: "text/csv" }));
    link.download = table.dataset.name + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  for (const box of all(".tablebox")) {
    const table = box.querySelector("table");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "csv";
    button.textContent = "CSV";
    button.setAttribute("aria-label", "Save as CSV: " + table.caption.textContent);
    button.addEventListener("click", () => save(table));
    box.querySelector(".source").append(button);
  }
  window.stageledgerCsv = csv;

  // Paper cannot be opened: what is folded is unfolded for it, and folded again after.
  let folded = [];
  const unfold = (isPrinting) => {
    // A table that stands behind two charts, or behind one and beside it, is printed once.
    const seen = new Set(all("table").filter((table) => table.checkVisibility()).map((t) => t.textContent));
    const isNew = (details) => {
      const text = details.querySelector("table")?.textContent;
      return !text || (details.checkVisibility() && !seen.has(text) && seen.add(text));
    };
    if (isPrinting) folded = folded.concat(all("details:not([open])").filter(isNew));
    for (const details of folded) details.open = isPrinting;
    if (!isPrinting) folded = [];
  };
  matchMedia("print").addEventListener("change", (query) => unfold(query.matches));
  // The medium changes after the browser has counted the pages: what opens only then is cut off at the end.
  addEventListener("beforeprint", () => unfold(true));
  addEventListener("afterprint", () => unfold(false));
})();
