"use strict";
// The table of decisions: only the rows in view exist; sorting and filtering work on typed arrays.
(() => {
  const {element, byId, say, count, usd, seconds, moment, known, clean, percent} = langroute;
  const listing = JSON.parse(byId("listing").textContent);
  const {columns, names} = listing;
  const size = columns.id.length;
  // Loops: `from` with a function takes ten times as long.
  const filled = (made, values) => {
    for (let i = 0; i < values.length; i++) made[i] = values[i] ?? NaN;
    return made;
  };
  const numbers = (values) => filled(new Float64Array(size), values);
  const codes = (values) => filled(new Uint16Array(size), values);
  const of = {
    at_s: numbers(columns.at_s), usd: numbers(columns.usd), s: numbers(columns.s), top_usd: numbers(columns.top_usd),
    step: codes(columns.step), outcome: codes(columns.outcome), tier: codes(columns.tier), endpoint: codes(columns.endpoint),
    way: codes(columns.way), policy: codes(columns.policy), flags: codes(columns.flags),
  };
  const named = (column) => (row) => names[column][of[column][row]];
  const shown = [
    ["time (UTC)", "at_s", (row) => moment(of.at_s[row])], ["step", "step", named("step")], ["outcome", "outcome", named("outcome")],
    ["what was tried", "way", named("way")], ["model", "endpoint", named("endpoint")],
    ["paid", "usd", (row) => usd(columns.usd[row]), "n"], ["time", "s", (row) => seconds(columns.s[row]), "n"],
  ];

  const IN_A_CELL = 120; // characters; more is only seen on a click, and takes long to lay out
  let order = new Uint32Array(0);
  let sorted = {column: "at_s", down: true};
  const body = byId("grid-body"), space = byId("grid-space");
  const lines = [];
  const height = () => (matchMedia("(max-width: 46rem)").matches ? 76 : 38);

  // Filtering and sorting ----------------------------------------------------------------------------------
  const matches = (column, words) => Uint8Array.from(names[column], (name) => name.toLowerCase().includes(words));
  const SEARCHED = ["step", "outcome", "tier", "endpoint", "way", "policy"];
  const filtered = () => {
    const words = byId("search").value.trim().toLowerCase();
    const step = byId("by-step").value, outcome = byId("by-outcome").value, flag = Number(byId("by-flag").value);
    const found = words && SEARCHED.map((column) => [of[column], matches(column, words)]);
    const kept = new Uint32Array(size);
    let length = 0;
    for (let row = 0; row < size; row++) {
      if (step !== "" && of.step[row] !== Number(step)) continue;
      if (outcome !== "" && of.outcome[row] !== Number(outcome)) continue;
      if (flag && !(of.flags[row] & flag)) continue;
      if (found && !found.some(([code, match]) => match[code[row]]) && !columns.id[row].toLowerCase().includes(words)) continue;
      kept[length++] = row;
    }
    return kept.slice(0, length);
  };
  const ranks = (column) => {
    if (!names[column]) return of[column];
    const places = names[column].map((_, code) => code).sort((a, b) => (names[column][a] < names[column][b] ? -1 : 1));
    const rank = new Uint16Array(places.length);
    places.forEach((code, place) => { rank[code] = place; });
    return filled(new Uint16Array(size), of[column]).map((code) => rank[code]);
  };
  const compared = (key, down) => (a, b) => {
    const x = key[a], y = key[b];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
    return (down ? y - x : x - y) || a - b;
  };
  const refresh = () => {
    order = filtered().sort(compared(ranks(sorted.column), sorted.down));
    for (const head of byId("grid-head").children) {
      const own = head.dataset.column === sorted.column;
      head.setAttribute("aria-sort", own ? (sorted.down ? "descending" : "ascending") : "none");
    }
    say("found", `${count(order.length)} of ${count(size)} decisions` + (order.length ? ". Choose one to see why." : ": nothing matches."));
    byId("grid").setAttribute("aria-rowcount", order.length + 1);
    body.scrollTop = 0;
    space.style.height = `${order.length * height()}px`;
    draw();
  };

  // Drawing the rows in view -------------------------------------------------------------------------------
  const line = (number) => {
    if (lines[number]) return lines[number];
    const made = element("div", undefined, "row");
    made.setAttribute("role", "row");
    made.tabIndex = 0;
    for (const [heading, , , kind] of shown) {
      const cell = element("div", undefined, kind);
      cell.setAttribute("role", "cell");
      cell.dataset.name = heading;
      made.append(cell);
    }
    space.append(made);
    lines[number] = made;
    return made;
  };
  const draw = () => {
    const tall = height(), first = Math.max(0, Math.floor(body.scrollTop / tall) - 4);
    const last = Math.min(order.length, first + Math.ceil(body.clientHeight / tall) + 8);
    for (let place = first; place < last; place++) {
      const made = line(place - first), row = order[place];
      made.hidden = false;
      made.style.transform = `translateY(${place * tall}px)`;
      made.dataset.row = row;
      made.setAttribute("aria-rowindex", place + 2);
      made.className = `row ${outcomeClass(row)}`;
      shown.forEach(([, , text], i) => { made.children[i].textContent = clean(text(row)).slice(0, IN_A_CELL); });
    }
    for (let number = last - first; number < lines.length; number++) lines[number].hidden = true;
  };
  const outcomeClass = (row) => {
    const outcome = names.outcome[of.outcome[row]];
    if (outcome === "accepted") return of.flags[row] & 9 ? "troubled" : "";
    return outcome === "best" || outcome === "blamed" || outcome === "ask" ? "troubled" : "bad";
  };

  // Why ----------------------------------------------------------------------------------------------------
  const unpacked = new Map();
  const details = async (row) => {
    const number = Math.floor(row / listing.chunk);
    if (!unpacked.has(number)) {
      const bytes = Uint8Array.from(atob(byId(`details-${number}`).textContent), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      unpacked.set(number, await new Response(stream).json());
    }
    return unpacked.get(number)[row % listing.chunk];
  };
  const list = (tag, items) => {
    const made = element(tag);
    for (const item of items) made.append(item instanceof Node ? item : element("li", item));
    return made;
  };
  const facts = (pairs) => {
    const made = element("dl", undefined, "facts");
    for (const [name, value] of pairs) if (known(value) && value !== "") made.append(element("dt", name), element("dd", value));
    return made;
  };
  const verdict = (said) => {
    const item = element("li", undefined, said.accepted ? "good" : "bad");
    const score = known(said.score) ? ` (${Number(said.score).toFixed(2)})` : "";
    item.append(element("b", `${said.accepted ? "\u2713" : "\u2717"} ${said.verifier}${score}`), element("span", ` ${said.reason ?? ""}`));
    return item;
  };
  const attempt = (tried, number) => {
    const made = element("li", undefined, `attempt ${tried.outcome}`);
    made.append(element("h4", `${number + 1}. ${tried.tier} \u00b7 ${tried.endpoint}`), element("p", `${tried.why}: ${tried.outcome}${tried.returned ? ", returned" : ""}`));
    if (tried.failure) made.append(element("p", `${tried.failure.kind}: ${tried.failure.message}`, "bad"));
    if (tried.verdicts?.length) made.append(list("ul", tried.verdicts.map(verdict)));
    const tokens = known(tried.input_tokens) ? `${count(tried.input_tokens)} in, ${count(tried.output_tokens)} out` + (tried.cache_read_tokens ? `, ${count(tried.cache_read_tokens)} cached` : "") : "unknown";
    made.append(facts([["model", tried.model], ["tokens", tokens], ["paid", `${usd(tried.cost_usd)} (${tried.cost_basis})`],
      ["checks", tried.checks_usd ? usd(tried.checks_usd) : null], ["took", seconds(tried.latency_s)], ["first token", seconds(tried.first_token_s)],
      ["judged in", tried.judged_s ? seconds(tried.judged_s) : null]]));
    return made;
  };
  const why = async (row) => {
    const found = await details(row), place = byId("why-body");
    const top = columns.top_usd[row];
    const title = element("h3", `${named("step")(row)}: ${named("outcome")(row)}`);
    title.id = "why-title";
    const close = element("button", "Close");
    close.type = "button";
    close.addEventListener("click", () => byId("why").close());
    const head = element("div", undefined, "why-head");
    head.append(title, close);
    place.replaceChildren(head,
      element("p", `${moment(of.at_s[row])} UTC \u00b7 paid ${usd(columns.usd[row])} \u00b7 top tier ${usd(top)} \u00b7 ${seconds(columns.s[row])}`, "small"),
      element("h4", "Which step it is"), element("p", `${found.step_source}: ${found.step_reason}`));
    if (known(found.mismatch)) place.append(element("p", `It looks like ${found.mismatch}.`, "bad"));
    if (found.reasons.length) place.append(element("h4", "Why it was planned so"), list("ol", found.reasons));
    place.append(element("h4", "What was tried"));
    const tried = list("ol", found.attempts.map(attempt));
    tried.className = "attempts";
    place.append(found.attempts.length ? tried : element("p", "Nothing was called."));
    const features = Object.entries(found.features ?? {}).map(([name, value]) => `${name} ${value}`).join(", ");
    place.append(element("h4", "Where it belongs"), facts([["decision", columns.id[row]], ["run", found.run], ["thread", found.thread], ["node", found.node],
      ["policy", found.policy], ["request", found.request], ["difficulty", known(found.difficulty) ? `${Number(found.difficulty).toFixed(2)}${features ? ` (${features})` : ""}` : null],
      ["label", known(found.label) ? percent(found.label) + " right" : null]]));
    byId("why").showModal();
    byId("why").scrollTop = 0;
  };

  // What a person can do -----------------------------------------------------------------------------------
  const options = (id, choices) => byId(id).append(...choices.map(([value, text]) => { const made = element("option", clean(text).slice(0, IN_A_CELL)); made.value = value; return made; }));
  const alphabetical = (column) => names[column].map((name, code) => [code, name || "none"]).sort((a, b) => (a[1] < b[1] ? -1 : 1));
  options("by-step", [["", "all"], ...alphabetical("step")]);
  options("by-outcome", [["", "all"], ...alphabetical("outcome")]);
  options("by-flag", [[0, "anything"], ...listing.flags.map((flag, bit) => [1 << bit, flag])]);
  for (const [heading, column, , kind] of shown) {
    const cell = element("div", undefined, kind), button = element("button", heading);
    cell.setAttribute("role", "columnheader");
    cell.dataset.column = column;
    button.type = "button";
    button.addEventListener("click", () => {
      sorted = {column, down: sorted.column === column ? !sorted.down : !names[column]};
      refresh();
    });
    cell.append(button);
    byId("grid-head").append(cell);
  }
  let waiting = 0;
  byId("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  for (const id of ["by-step", "by-outcome", "by-flag"]) byId(id).addEventListener("change", refresh);
  byId("filters").addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
  body.addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
  addEventListener("resize", () => { space.style.height = `${order.length * height()}px`; draw(); });
  const opened = (event) => {
    const row = event.target.closest(".row");
    if (row) why(Number(row.dataset.row));
  };
  space.addEventListener("click", opened);
  space.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); opened(event); } });
  byId("why").addEventListener("click", (event) => { if (event.target === byId("why")) byId("why").close(); });
  say("decisions-note", size < listing.total
    ? `The latest ${count(size)} of ${count(listing.total)} decisions; the figures above are of all.` : "Every decision, newest first.");
  refresh();
  langroute.ready_ms = performance.now();
})();
