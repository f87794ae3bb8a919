// Keeps a page live: hears "changed, read again", fetches the page itself and swaps <main>. Without it, all works by reloading.
"use strict";

(() => {
  const SILENT_AFTER_MS = 25_000; // the server says something every ten seconds
  const RECONNECT_AFTER_MS = 5_000;
  const AT_MOST_EVERY_MS = 1_000;
  const state = document.getElementById("live");
  let source = null;
  let lastHeard = Date.now();
  let staleSince = null;
  let reading = false;
  let wanted = null;
  let lastRead = 0;

  const clock = (at) =>
    new Intl.DateTimeFormat("en-GB", {
      timeZone: state.dataset.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
    }).format(at);

  const say = (text, name) => {
    if (state.textContent === text) return; // a screen reader hears each change once
    state.textContent = text;
    state.className = name;
    document.body.classList.toggle("is-stale", name === "stale");
  };

  const live = () => {
    lastHeard = Date.now();
    staleSince = null;
    say("Live", "live");
  };

  const stale = () => {
    staleSince = staleSince ?? lastHeard;
    say(`Not live since ${clock(staleSince)}: what you see may be old`, "stale");
  };

  // Where the keyboard and the eyes are, so that a swap moves neither.
  const swap = (fresh) => {
    const main = document.getElementById("main");
    const focused = main.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && (focused.id ? `#${CSS.escape(focused.id)}` : focused.getAttribute("href") && `a[href="${CSS.escape(focused.getAttribute("href"))}"]`);
    const open = [...main.querySelectorAll("details[open]")].map((one) => one.id);
    const chosen = [...main.querySelectorAll("select")].map((one) => [one.id, one.value]);
    const scrolled = [...main.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    const [x, y] = [window.scrollX, window.scrollY];
    main.replaceChildren(...fresh.childNodes);
    main.dataset.mark = fresh.dataset.mark;
    open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    chosen.forEach(([id, value]) => { const one = document.getElementById(id); if (one) one.value = value; });
    main.querySelectorAll(".scroll").forEach((one, place) => { one.scrollLeft = scrolled[place] ?? 0; });
    if (key) main.querySelector(key)?.focus({ preventScroll: true });
    window.scrollTo(x, y);
  };

  const read = async () => {
    if (reading || document.hidden) return;
    const mark = wanted;
    if (mark === null || mark === document.getElementById("main").dataset.mark) return;
    const pause = AT_MOST_EVERY_MS - (Date.now() - lastRead);
    if (pause > 0) { setTimeout(read, pause); return; }
    reading = true;
    lastRead = Date.now();
    try {
      const answer = await fetch(window.location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      swap(fresh);
      wanted = wanted === mark ? null : wanted;
      live();
    } catch {
      stale();
    } finally {
      reading = false;
    }
    if (wanted !== null) setTimeout(read, AT_MOST_EVERY_MS);
  };

  const connect = () => {
    source?.close();
    source = new EventSource("/events");
    source.addEventListener("books", (event) => {
      wanted = event.data;
      lastHeard = Date.now();
      if (wanted === document.getElementById("main").dataset.mark) live();
      read();
    });
    source.addEventListener("error", () => {
      stale();
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_AFTER_MS);
    });
  };

  const age = (seconds) => {
    if (seconds < 60) return `${Math.max(seconds, 0)} s`;
    if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
    return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
  };

  setInterval(() => {
    if (document.hidden) return;
    if (Date.now() - lastHeard > SILENT_AFTER_MS) { stale(); if (source.readyState !== EventSource.CONNECTING) connect(); }
    if (staleSince !== null) return; // an old page's ages stand still with it
    document.querySelectorAll("[data-since]").forEach((one) => {
      one.textContent = age(Math.floor((Date.now() - Date.parse(one.dataset.since)) / 1_000));
    });
  }, 5_000);
  // A browser grants a page's server six connections: one that nobody looks at needs none.
  document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : connect()));
  say("Connecting", "");
  connect();
})();
