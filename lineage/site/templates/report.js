"use strict";
// The search of the report. Data come as script files that call clipline(name, content), for fetch does not work from
// file://; whatever they hold gets into the page as text alone.
(() => {
  const MAX_FILES = 8;
  const delivered = new Map();
  const waiting = new Map();
  let known = null;
  let lastQuestion = 0;

  const policy = {createScriptURL: (path) => {
    if (!/^index\/(uid|url|sha256|host)\/\d{3,}\/\d{3}\.js$/.test(path)) throw new Error(`not a file of the index: ${path}`);
    return path;
  }};
  const trusted = window.trustedTypes ? window.trustedTypes.createPolicy("clipline", policy) : policy;

  window.clipline = (name, content) => {
    if (name === "manifest") known = content;
    else delivered.set(name, content);
  };

  // ---- files -------------------------------------------------------------------------------------------------------

  function load(name) {
    if (delivered.has(name)) return Promise.resolve(delivered.get(name));
    if (!waiting.has(name)) waiting.set(name, added(name).finally(() => waiting.delete(name)));
    return waiting.get(name);
  }

  function added(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = trusted.createScriptURL(`index/${name}.js`);
      const end = () => {
        script.remove();
        if (!delivered.has(name)) return reject(new Error(`index/${name}.js is missing or damaged; build the report again`));
        while (delivered.size > MAX_FILES) delivered.delete(delivered.keys().next().value);
        resolve(delivered.get(name));
      };
      script.onload = end;
      script.onerror = end;
      document.head.append(script);
    });
  }

  // Returns the entry under a key, null if there is none: the file is the last one that begins at or before the key.
  async function entry(kind, key) {
    const heads = known.bounds[kind];
    const width = known.digits.bound;
    const head = key.slice(0, width);
    let low = 0;
    let high = heads.length / width;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (heads.slice(middle * width, (middle + 1) * width) <= head) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return null;
    const number = low - 1;
    const three = (value) => String(value).padStart(3, "0");
    const entries = await load(`${kind}/${three(Math.floor(number / 1000))}/${three(number % 1000)}`);
    return entries.find((one) => one[0] === key) || null;
  }

  // ---- sha256, for crypto.subtle is not there on file:// in every browser ------------------------------------------

  const ROUND = [];
  const START = [];
  (() => {
    const fraction = (root) => Math.floor((root - Math.floor(root)) * 0x100000000);
    for (let number = 2; ROUND.length < 64; number += 1) {
      let isPrime = true;
      for (let factor = 2; factor * factor <= number; factor += 1) if (number % factor === 0) isPrime = false;
      if (!isPrime) continue;
      if (START.length < 8) START.push(fraction(Math.sqrt(number)));
      ROUND.push(fraction(Math.cbrt(number)));
    }
  })();

  function sha256(text) {
    const octets = new TextEncoder().encode(text);
    const padded = new Uint8Array(((octets.length + 72) >> 6) << 6);
    padded.set(octets);
    padded[octets.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(octets.length / 0x20000000));
    view.setUint32(padded.length - 4, (octets.length << 3) >>> 0);
    const state = Uint32Array.from(START);
    const word = new Uint32Array(64);
    const turn = (value, by) => (value >>> by) | (value << (32 - by));
    for (let block = 0; block < padded.length; block += 64) {
      for (let i = 0; i < 16; i += 1) word[i] = view.getUint32(block + 4 * i);
      for (let i = 16; i < 64; i += 1) {
        const near = word[i - 15];
        const far = word[i - 2];
        const s0 = turn(near, 7) ^ turn(near, 18) ^ (near >>> 3);
        const s1 = turn(far, 17) ^ turn(far, 19) ^ (far >>> 10);
        word[i] = word[i - 16] + s0 + word[i - 7] + s1;
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let i = 0; i < 64; i += 1) {
        const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUND[i] + word[i]) | 0;
        const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
      }
      [a, b, c, d, e, f, g, h].forEach((value, i) => { state[i] += value; });
    }
    return Array.from(state, (value) => value.toString(16).padStart(8, "0")).join("");
  }

  // ---- the page ----------------------------------------------------------------------------------------------------

  const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff\u{e0000}-\u{e007f}]/u;

  function make(tag, words = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(words)) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  // Text of strangers: set apart, with what cannot be seen, or would turn the direction, spelt out.
  function foreign(text, fullLength) {
    const made = make("bdi");
    let plain = "";
    for (const char of String(text)) {
      if (!CONTROL.test(char)) { plain += char; continue; }
      made.append(plain, make("span", {class: "control"}, `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`));
      plain = "";
    }
    made.append(plain);
    if (fullLength) made.append(make("span", {class: "quiet"}, `… (${count(fullLength)} characters in all)`));
    return made;
  }

  const count = (value) => Number(value).toLocaleString("en");
  const code = (text) => make("code", {}, foreign(text));
  const quiet = (text) => make("span", {class: "quiet"}, text);
  const link = (kind, value, text) => make("a", {href: `#${kind}=${encodeURIComponent(value)}`}, text || code(value));

  function facts(pairs) {
    const list = make("dl", {class: "facts"});
    for (const [name, value] of pairs) {
      if (value === null || value === undefined) continue;
      list.append(make("dt", {}, name), make("dd", {}, value));
    }
    return list;
  }

  function table(heads, rows) {
    const head = make("tr");
    for (const [text, isNumber] of heads) head.append(make("th", isNumber ? {class: "num", scope: "col"} : {scope: "col"}, text));
    const body = make("tbody");
    for (const row of rows) {
      const line = make("tr");
      row.forEach((cell, i) => line.append(make("td", heads[i][1] ? {class: "num"} : {}, cell)));
      body.append(line);
    }
    return make("div", {class: "scroll"}, make("table", {}, make("thead", {}, head), body));
  }

  const word = (number) => known.words[number] || ["unknown", "a reason that this report does not know"];

  function fields(row) {
    return new Map(known.fields.map((name, i) => [name, row[i]]));
  }

  function chip(number) {
    return make("span", {class: number === 0 ? "chip kept" : "chip"}, number === 0 ? "kept" : `dropped: ${word(number)[0]}`);
  }

  function seenBy(exposures) {
    const found = [];
    (exposures || []).forEach((times, i) => { if (times > 0) found.push([known.models[i], times]); });
    return found;
  }

  // ---- one pair ----------------------------------------------------------------------------------------------------

  function pair(row) {
    const of = fields(row);
    const [snapshot, rules] = known.snapshots[of.get("snapshot")];
    const seen = seenBy(of.get("exposures"));
    const names = seen.map(([model, times]) => `${model[0]} (${count(times)} times)`).join(", ");
    const made = make("article", {class: "pair"});
    made.append(
      make("h3", {}, `In snapshot ${snapshot} `, chip(of.get("reason"))),
      make("p", {}, seen.length ? `Seen by ${names}.` : "No model was trained on it."),
    );
    if (of.get("withheld")) made.append(make("p", {class: "notice"}, "Opted out: hashes alone are shown."));
    const steps = [listStep(of), downloadStep(of), signalStep(of), selectStep(of, rules), shardStep(of), modelStep(seen)];
    made.append(make("ol", {class: "trail"}, ...steps));
    return made;
  }

  function step(title, isStop, ...children) {
    return make("li", isStop ? {class: "stop"} : {}, make("h4", {}, title), ...children);
  }

  function listStep(of) {
    const has = (name, made) => (of.get(name) === null ? null : made(of.get(name)));
    return step("List row", false, facts([
      ["link", has("url", (url) => foreign(url, of.get("url_chars")))],
      ["caption", has("caption", (caption) => foreign(caption, of.get("caption_chars")))],
      ["host", has("host", (host) => link("domain", host, foreign(host)))],
      ["license", has("license", foreign)],
      ["sha256 of the link", has("url_sha256", code)],
      ["sha256 of the host", has("host_sha256", code)],
      ["uid", link("uid", of.get("uid"))],
    ]));
  }

  function downloadStep(of) {
    const failure = of.get("failure");
    const isFetched = of.get("outcome") === "ok";
    const bytes = of.get("bytes");
    const said = failure === null ? foreign(of.get("outcome")) : make("span", {}, word(failure)[0], quiet(` ${word(failure)[1]}`));
    return step("Download", !isFetched, facts([
      ["outcome", said],
      ["sha256", of.get("sha256") === null ? null : link("sha256", of.get("sha256"))],
      ["bytes", bytes === null ? null : count(bytes)],
      ["against the list's hash", of.get("drift") === null ? null : foreign(of.get("drift"))],
    ]));
  }

  function signalStep(of) {
    if (of.get("format") === null) return null;
    const share = of.get("language_probability");
    return step("Signals", false, facts([
      ["picture", foreign(`${of.get("format")}, ${of.get("width")} × ${of.get("height")} px`)],
      ["perceptual hash", of.get("phash") === null ? null : code(of.get("phash"))],
      ["caption's language", of.get("language") === null ? null : foreign(`${of.get("language")}${share === null ? "" : `, probability ${share}`}`)],
      ["caption's script", of.get("script") === null ? null : foreign(of.get("script"))],
    ]));
  }

  function selectStep(of, rules) {
    const reason = of.get("reason");
    const other = of.get("duplicate_of");
    const at = of.get("duplicate_of_snapshot");
    const measured = (of.get("values") || []).map((value, i) => [rules[i], value]).filter(([, value]) => value !== null);
    const made = step("Selection", reason !== 0, facts([
      ["verdict", make("span", {}, word(reason)[0], quiet(` ${word(reason)[1]}`))],
      ["rule", of.get("rule") === null ? null : foreign(of.get("rule"))],
      ["value", of.get("value") === null ? null : foreign(of.get("value"))],
      ["threshold", of.get("threshold") === null ? null : foreign(of.get("threshold"))],
      ["kept instead", other === null ? null : make("span", {}, link("uid", other), at === null ? "" : make("span", {}, " of ", foreign(at)))],
    ]));
    if (measured.length) {
      const rows = measured.map(([[rule, recipe], value]) => [
        make("span", {}, foreign(rule), rule === of.get("rule") ? " ←" : ""), foreign(value), make("span", {class: "quiet"}, foreign(recipe))]);
      made.append(make("details", {}, make("summary", {}, `what ${measured.length} rules saw`),
        table([["rule", false], ["value", true], ["the recipe asks", false]], rows)));
    }
    return made;
  }

  function shardStep(of) {
    if (of.get("shard") === null) return null;
    return step("Shard", false, facts([
      ["split", foreign(of.get("split"))],
      ["shard", code(`data/shards/${known.snapshots[of.get("snapshot")][0]}/${of.get("shard")}`)],
      ["offset", `${count(of.get("offset"))}, ${count(of.get("length"))} bytes`],
    ]));
  }

  function modelStep(seen) {
    if (!seen.length) return null;
    const rows = seen.map(([[name, metrics], times]) => [
      make("a", {href: `models/${encodeURIComponent(name)}.html`}, name), count(times),
      metrics.length
        ? make("details", {}, make("summary", {}, `${metrics.length} of its metrics`),
          table([["metric", false], ["value", true]], metrics.map(([title, value]) => [foreign(title), String(Number(value.toPrecision(4)))])))
        : quiet("none at hand"),
    ]);
    return step("Models", false, table([["model", false], ["times trained on", true], ["metrics it reached", false]], rows));
  }

  // ---- questions ---------------------------------------------------------------------------------------------------

  async function pairsOf(uid) {
    const found = await entry("uid", uid);
    if (!found) return [make("p", {}, "No pair has this uid.")];
    const [, first, ...others] = found;
    for (const row of others) for (const place of known.shared) row[place] = first[place];
    return [first, ...others].map(pair);
  }

  async function byUid(uid) {
    return [make("h3", {tabindex: "-1"}, "Pair ", code(uid)), ...await pairsOf(uid)];
  }

  // Answers for a digest of a link or a picture: the first pair in full, the others as links.
  async function byDigest(kind, digest, title) {
    const found = await entry(kind, digest.slice(0, known.digits.key));
    if (!found) return null;
    const [, total, flat] = found;
    const pairs = [];
    for (let i = 0; i < flat.length; i += 2) pairs.push([flat[i], flat[i + 1]]);
    const made = [make("h3", {tabindex: "-1"}, title, quiet(total === 1 ? " 1 pair" : ` ${count(total)} pairs`)), ...await pairsOf(pairs[0][0])];
    if (pairs.length > 1) made.push(make("h3", {}, "Others with it"), links(pairs.slice(1)));
    if (total > pairs.length) made.push(make("p", {class: "quiet"}, `${count(total - pairs.length)} more are not listed here.`));
    return made;
  }

  function links(pairs) {
    return make("ul", {class: "links"}, ...pairs.map(([uid, reason]) => make("li", {}, link("uid", uid), ` ${word(reason)[0]}`)));
  }

  async function byUrl(url) {
    const found = await byDigest("url", sha256(url), "This link");
    return found || [make("h3", {tabindex: "-1"}, "Not found"),
      make("p", {}, "No snapshot lists exactly this link: ", foreign(url)),
      make("p", {class: "quiet"}, "Links are compared letter by letter, as the lists have them.")];
  }

  async function bySha256(digest) {
    const found = [await byDigest("sha256", digest, "The picture with this sha256"),
      await byDigest("url", digest, "The link with this sha256"), await byHostDigest(digest, "The host with this sha256")];
    const made = found.filter((one) => one !== null).flat();
    return made.length ? made : [make("h3", {tabindex: "-1"}, "Not found"), make("p", {}, "No picture, link or host has this sha256.")];
  }

  async function byDomain(text) {
    const typed = text.toLowerCase().replace(/^\*?\.+|\.+$/g, "");
    const spelt = [typed];
    try { spelt.push(new URL(`http://${typed}`).hostname); } catch { /* not a host: looked for as it stands */ }
    for (const name of new Set(spelt)) {
      const found = await byHostDigest(sha256(name), make("span", {}, "Domain ", foreign(name)));
      if (found) return found;
    }
    return [make("h3", {tabindex: "-1"}, "Not found"), make("p", {}, "No pair comes from this domain or a host below it: ", foreign(typed))];
  }

  async function byHostDigest(digest, title) {
    const found = await entry("host", digest.slice(0, known.digits.key));
    if (!found) return null;
    const [, reasons, pairs, exposures, uids, hosts] = found;
    const total = reasons.reduce((sum, [, number]) => sum + number, 0);
    const made = make("article", {class: "pair"});
    made.append(make("p", {}, `${count(total)} rows of the lists, hosts below it included; of opted-out rows only those of this very host.`));
    made.append(table([["outcome", false], ["rows", true], ["", false]],
      reasons.map(([reason, number]) => [word(reason)[0], count(number), quiet(word(reason)[1])])));
    const seen = known.models.map(([name], i) => [name, pairs[i] || 0, exposures[i] || 0]).filter(([, rows]) => rows > 0);
    made.append(make("h3", {}, "Who saw them"));
    made.append(seen.length
      ? table([["model", false], ["rows", true], ["times in all", true]],
        seen.map(([name, rows, times]) => [make("a", {href: `models/${encodeURIComponent(name)}.html`}, name), count(rows), count(times)]))
      : make("p", {}, "No model was trained on any of them."));
    if (hosts.length) made.append(make("h3", {}, "Hosts below it, first by name"),
      make("ul", {class: "links"}, ...hosts.map(([host, number]) => make("li", {}, link("domain", host, foreign(host)), ` ${count(number)}`))));
    made.append(make("h3", {}, uids.length < total ? "Some of its pairs" : "Its pairs"), links(uids));
    return [make("h3", {tabindex: "-1"}, title), made];
  }

  const ANSWERS = {uid: byUid, url: byUrl, sha256: bySha256, domain: byDomain};

  function kindOf(text) {
    if (/^[0-9a-f]{32}$/i.test(text)) return ["uid", text.toLowerCase()];
    if (/^[0-9a-f]{64}$/i.test(text)) return ["sha256", text.toLowerCase()];
    return text.includes("://") ? ["url", text] : ["domain", text];
  }

  async function ask(kind, text, hasFocus) {
    lastQuestion += 1;
    const question = lastQuestion;
    const answer = document.getElementById("answer");
    answer.dataset.state = "busy";
    let made;
    let state = "done";
    try {
      if (!known) throw new Error("manifest.js is missing or damaged; build the report again");
      made = await ANSWERS[kind](text);
    } catch (error) {
      made = [make("p", {class: "notice", role: "alert"}, foreign(error.message))];
      state = "failed";
    }
    if (question !== lastQuestion) return;
    answer.replaceChildren(...made);
    answer.dataset.state = state;
    const title = answer.querySelector("[tabindex]");
    if (title && hasFocus) title.focus({preventScroll: true});
    document.getElementById("search-section").scrollIntoView();
  }

  function fromHash() {
    const [, kind, rest] = /^#(uid|url|sha256|domain)=([\s\S]*)$/.exec(window.location.hash) || [];
    if (!kind) return;
    let text = rest;
    try { text = decodeURIComponent(rest); } catch { /* a stray %: taken as it stands */ }
    document.getElementById("query").value = text;
    if (text) ask(kind, text, true);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const query = document.getElementById("query");
    document.getElementById("search").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = query.value.trim();
      if (!text) return;
      const [kind, value] = kindOf(text);
      const hash = `#${kind}=${encodeURIComponent(value.toWellFormed ? value.toWellFormed() : value)}`;
      if (window.location.hash === hash) fromHash();
      else window.location.hash = hash;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target === query) return;
      event.preventDefault();
      query.focus();
      query.select();
    });
    window.addEventListener("hashchange", fromHash);
    fromHash();
  });
})();
