// What a page includes: it reloads when a new generation is live, swaps stylesheets and images that a rule
// names, and shows why the newest sources are not served. Called with what only the server knows.
((hotrun) => {
  "use strict";
  // The page may include it twice: by a line of its own and by an extension.
  const once = Symbol.for("hotrun.livereload");
  if (window[once]) return;
  window[once] = true;

  // ---- reloads

  const STYLES = /\.(css|less|pcss|postcss|s[ac]ss|styl)$/i;
  const IMAGES = /\.(avif|bmp|cur|gif|ico|jpe?g|png|svg|webp)$/i;
  // The browser itself keeps the place in the page.
  const reload = () => location.reload();
  const absolute = (url) => new URL(url, document.baseURI);
  const marked = /([?&])hotrun=\d+&?/;

  /** The same file, but not the one that the browser has. */
  const fresh = (url) => {
    const [, head, fragment] = /^([^#]*)(.*)$/.exec(url);
    const plain = head.replace(marked, "$1").replace(/[?&]$/, "");
    return `${plain}${plain.includes("?") ? "&" : "?"}hotrun=${Date.now()}${fragment}`;
  };

  /** How many parts, from the end, a path on disk and one of a URL have in common. */
  const likeness = (path, url) => {
    let theirs;
    try {
      theirs = decodeURIComponent(absolute(url).pathname).split("/").reverse();
    } catch {
      return 0;
    }
    const ours = path.split("/").reverse();
    const differs = ours.findIndex((part, at) => part !== theirs[at]);
    return differs < 0 ? ours.length : differs;
  };

  /** Those whose URL is most like the path; none if no file name is the same. */
  const likest = (path, all, url) => {
    const most = Math.max(0, ...all.map((one) => likeness(path, url(one))));
    return most && all.filter((one) => likeness(path, url(one)) === most);
  };

  /** All rules of a stylesheet that may be read: not those of other origins. */
  const rules = (sheet) => {
    try {
      return [...sheet.cssRules];
    } catch {
      return [];
    }
  };

  const imports = (sheet) =>
    rules(sheet).flatMap((rule) =>
      rule.styleSheet ? [rule.styleSheet.href, ...imports(rule.styleSheet)] : [],
    );

  /** A link that is being replaced, and the one that takes its place when it has loaded. */
  const successors = new Map();

  const swapLink = async (link) => {
    const next = link.cloneNode();
    successors.get(link)?.remove();
    successors.set(link, next);
    const isNewest = () => successors.get(link) === next;
    // What a stylesheet imports is not asked for anew with it.
    const imported = link.sheet ? imports(link.sheet).filter(Boolean) : [];
    const load = (url) => fetch(url, { cache: "reload", mode: "no-cors" }).catch(() => {});
    await Promise.all(imported.map(load));
    if (!isNewest()) return;
    next.removeAttribute("integrity");
    next.href = fresh(link.href);
    const end = (gone) => () => {
      if (isNewest()) successors.delete(link);
      gone.remove();
    };
    next.addEventListener("load", end(link));
    next.addEventListener("error", end(next));
    link.after(next);
  };

  /** False: there is nothing to swap. */
  const swapStyles = (path) => {
    const coming = new Set(successors.values());
    const all = [...document.querySelectorAll("link[rel~='stylesheet'][href]")];
    const links = all.filter((link) => !coming.has(link));
    // The path may be of what a stylesheet is made of.
    const chosen = likest(path, links, (link) => link.href) || links;
    chosen.forEach(swapLink);
    return chosen.length > 0;
  };

  const swapImages = (path) => {
    const name = path.split("/").pop();
    const mentions = (rule) => rule.cssText.includes(name) || (rule.styleSheet && within(rule.styleSheet));
    const within = (sheet) => rules(sheet).some(mentions);
    // The image of a rule can't be told from others of that name.
    if ([...document.styleSheets].some(within)) return false;
    const places = [];
    for (const [selector, attribute] of [
      ["img[src], input[type='image'][src]", "src"],
      ["link[rel~='icon'][href], image[href]", "href"],
      ["video[poster]", "poster"],
    ]) {
      for (const element of document.querySelectorAll(selector)) places.push([element, attribute]);
    }
    const url = ([element, attribute]) => element.getAttribute(attribute);
    const chosen = likest(path, places, url) || [];
    for (const [element, attribute] of chosen) {
      element.setAttribute(attribute, fresh(element.getAttribute(attribute)));
    }
    const sets = [...document.querySelectorAll("[srcset]")].filter((one) => one.srcset.includes(name));
    for (const element of sets) {
      const candidate = /([^\s,]\S*[^\s,])(?=\s|,|$)/g;
      element.srcset = element.srcset.replace(candidate, (word) =>
        likeness(name, word) ? fresh(word) : word,
      );
    }
    const inline = [...document.querySelectorAll("[style]")];
    const styled = inline.some((element) => element.getAttribute("style").includes(name));
    return !styled && chosen.length + sets.length > 0;
  };

  const change = (path) => {
    const stays =
      (STYLES.test(path) && swapStyles(path)) || (IMAGES.test(path) && swapImages(path));
    if (!stays) reload();
  };

  // ---- the overlay

  const LOOK = `
    :host { color-scheme: light dark; --card: #fff; --text: #1b1f24; --muted: #5b6572; --line: #e2e6eb;
      --code: #f6f7f9; --accent: #cf2f27; --chip: #fdecea; --shade: rgb(16 22 30 / .42);
      --red: #c3271d; --green: #19722f; --yellow: #855d00; --blue: #0a58c2; --magenta: #8439bb; --cyan: #0a6b7c; }
    @media (prefers-color-scheme: dark) { :host { --card: #17191e; --text: #e7e9ec; --muted: #9aa4b1;
      --line: #2b3038; --code: #0f1115; --accent: #ff7066; --chip: #3a1d1c; --shade: rgb(0 0 0 / .62);
      --red: #ff7b72; --green: #5bd46b; --yellow: #e5b64a; --blue: #7ab7ff; --magenta: #d3a9ff; --cyan: #58d3dd; } }
    * { box-sizing: border-box; }
    .shade { position: fixed; inset: 0; background: var(--shade); display: flex; justify-content: center;
      align-items: flex-start; padding: clamp(8px, 5vh, 56px) clamp(8px, 3vw, 32px); }
    .card { display: flex; flex-direction: column; width: 100%; max-width: 1040px; max-height: 100%;
      background: var(--card); color: var(--text); border: 1px solid var(--line); border-radius: 12px;
      box-shadow: 0 18px 60px rgb(0 0 0 / .32); overflow: hidden;
      font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
    .card::before { content: ""; flex: none; height: 4px; background: var(--accent); }
    header { display: flex; gap: 12px; align-items: flex-start; padding: 16px 12px 14px 24px;
      border-bottom: 1px solid var(--line); }
    .head { flex: 1; min-width: 0; }
    h1 { margin: 0; font-size: 19px; line-height: 1.35; font-weight: 650; letter-spacing: -.01em; }
    .about { margin: 2px 0 0; color: var(--muted); font-size: 13.5px; overflow-wrap: anywhere; }
    .chip { flex: none; margin-top: 2px; padding: 3px 10px; border-radius: 999px; background: var(--code);
      border: 1px solid var(--line); color: var(--muted); font-size: 12.5px; white-space: nowrap; }
    .chip::before { content: ""; display: inline-block; width: 7px; height: 7px; margin-right: 7px;
      border-radius: 50%; background: var(--blue); animation: pulse 1.2s ease-in-out infinite; }
    @keyframes pulse { 50% { opacity: .25; } }
    @media (prefers-reduced-motion: reduce) { .chip::before { animation: none; } }
    button { font: inherit; color: inherit; background: none; border: 0; cursor: pointer; }
    button:focus-visible { outline: 2px solid var(--blue); outline-offset: 1px; }
    .close { flex: none; width: 32px; height: 32px; padding: 0; border-radius: 8px; color: var(--muted);
      font-size: 22px; line-height: 1; }
    .close:hover { background: var(--code); color: var(--text); }
    .body { overflow: auto; padding: 20px 24px; overscroll-behavior: contain; }
    section + section { margin-top: 20px; }
    h2 { margin: 0 0 8px; font-size: 14.5px; line-height: 1.45; font-weight: 600; overflow-wrap: anywhere; }
    .place { margin: 0 0 8px; color: var(--muted);
      font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
    .place b, .place a { color: var(--blue); font-weight: 600; }
    pre a { color: inherit; text-decoration-color: color-mix(in srgb, currentColor 30%, transparent);
      text-underline-offset: 2px; }
    pre { margin: 0; padding: 14px 16px; background: var(--code); border: 1px solid var(--line);
      border-radius: 8px; overflow-x: auto; white-space: pre; tab-size: 4; -webkit-text-size-adjust: none;
      font: 13px/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
    .more { margin: 16px 0 0; color: var(--muted); font-size: 13.5px; }
    footer { padding: 10px 24px; border-top: 1px solid var(--line); color: var(--muted); font-size: 12.5px; }
    kbd { font: inherit; padding: 1px 6px; border: 1px solid var(--line); border-radius: 5px; background: var(--code); }
    .pill { position: fixed; right: 16px; bottom: 16px; padding: 8px 14px; border-radius: 999px;
      background: var(--card); color: var(--accent); border: 1px solid var(--accent);
      box-shadow: 0 6px 20px rgb(0 0 0 / .22); font: 600 13.5px/1.4 system-ui, sans-serif; }
    .bold { font-weight: 600; } .dim { opacity: .7; }
    .red { color: var(--red); } .green { color: var(--green); } .yellow { color: var(--yellow); }
    .blue { color: var(--blue); } .magenta { color: var(--magenta); } .cyan { color: var(--cyan); }
    @media (max-width: 600px) {
      header { padding: 12px 8px 10px 16px; flex-wrap: wrap; } .head { order: 0; } .close { order: 1; }
      .chip { order: 2; margin: 0; } h1 { font-size: 17px; } .body { padding: 14px 12px; }
      h2, .place { padding: 0 4px; } pre { padding: 12px; font-size: 12px; } footer { padding: 9px 16px; } }
  `;

  /** Elements get text alone, never markup. */
  const element = (tag, name, ...content) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...content);
    return made;
  };

  /** Pieces of text as nodes, with their styles and links. */
  const nodes = (spans) =>
    spans.map(({ text, style, link }) => {
      if (!style && !link) return text;
      const made = element(link ? "a" : "span", style, text);
      if (link) made.href = link;
      return made;
    });

  /** The pieces of each line. */
  const lines = (spans) => {
    const all = [[]];
    for (const span of spans) {
      span.text.split("\n").forEach((text, at) => {
        if (at) all.push([]);
        if (text) all.at(-1).push({ ...span, text });
      });
    }
    return all;
  };

  /** An error of the compiler: its first line as a title, its place, and the rest as it is. */
  const rendered = (error) => {
    const [title, second = [], ...others] = lines(error);
    const text = second.map((span) => span.text).join("");
    const place = /^\s*--> (.+?)((?::\d+)*)$/.exec(text);
    const made = element("section", "", element("h2", "", ...nodes(title)));
    if (place) {
      const named = element("p", "place");
      const { link } = second.find((span) => span.link) ?? {};
      if (link) {
        named.append(element("a", "", place[1] + place[2]));
        named.firstChild.href = link;
      } else named.append(element("b", "", place[1]), place[2]);
      made.append(named);
    }
    const rest = place ? others : [second, ...others];
    const spans = rest.flatMap((line, at) => (at ? [{ text: "\n" }, ...line] : line));
    if (spans.some((span) => span.text.trim())) made.append(element("pre", "", ...nodes(spans)));
    return made;
  };

  const TITLES = { build: "Build failed", hook: "Command failed", app: "App failed" };
  const WORK = { building: "building…", starting: "starting…" };
  let host = null;
  let root = null;
  let shown = null;
  let hidden = "";

  const hide = () => {
    hidden = JSON.stringify(shown.problem);
    draw();
  };
  const again = () => {
    hidden = "";
    draw();
  };

  const card = ({ target, state, live, problem }) => {
    const about = [target, problem.generation && `g${problem.generation}`, problem.text];
    about.push(live && `g${live} keeps serving`);
    const title = element("h1", "", TITLES[problem.kind] ?? "Failed");
    title.id = "title";
    const line = element("p", "about", about.filter(Boolean).join(" · "));
    const header = element("header", "", element("div", "head", title, line));
    if (WORK[state]) header.append(element("span", "chip", WORK[state]));
    const close = element("button", "close", "×");
    close.setAttribute("aria-label", "Hide");
    close.addEventListener("click", hide);
    header.append(close);
    const body = element("div", "body", ...problem.errors.map(rendered));
    if (problem.output.length) {
      body.append(element("section", "", element("pre", "", ...nodes(problem.output))));
    }
    if (problem.more) body.append(element("p", "more", `${problem.more} more in the terminal`));
    if (!body.firstChild) body.append(element("p", "about", "The terminal has the details."));
    const footer = element("footer", "", element("kbd", "", "Esc"), " hides this. It is gone as soon as it is fixed.");
    const made = element("div", "card", header, body, footer);
    made.setAttribute("role", "alertdialog");
    made.setAttribute("aria-labelledby", "title");
    return made;
  };

  const draw = () => {
    if (!shown?.problem) {
      host?.remove();
      return;
    }
    if (!host) {
      host = document.createElement("hotrun-overlay");
      host.style.cssText = "all: initial; position: fixed; inset: 0 auto auto 0; z-index: 2147483647";
      host.popover = "manual";
      root = host.attachShadow({ mode: "closed" });
      const look = new CSSStyleSheet();
      look.replaceSync(LOOK);
      root.adoptedStyleSheets = [look];
    }
    const scrolled = root.querySelector(".body")?.scrollTop;
    if (hidden === JSON.stringify(shown.problem)) {
      const pill = element("button", "pill", TITLES[shown.problem.kind] ?? "Failed");
      pill.addEventListener("click", again);
      root.replaceChildren(pill);
    } else {
      const shade = element("div", "shade", card(shown));
      shade.addEventListener("click", (event) => event.target === shade && hide());
      root.replaceChildren(shade);
      if (scrolled) root.querySelector(".body").scrollTop = scrolled;
    }
    if (!host.isConnected) {
      document.documentElement.append(host);
      // Above dialogs of the page.
      host.showPopover?.();
    }
  };

  const isOpen = () => host?.isConnected && root.querySelector(".card");
  const onKey = (event) => {
    if (event.key !== "Escape" || !isOpen()) return;
    event.stopImmediatePropagation();
    hide();
  };
  window.addEventListener("keydown", onKey, true);

  const show = (picture) => {
    shown = picture;
    draw();
  };

  // ---- the connection

  const PROTOCOL = "http://livereload.com/protocols/official-7";
  const OTHER_RUN = 4001;
  const LONGEST = 2000;
  const source = document.currentScript?.src;
  const address = new URL(source ?? `http://${location.hostname || "localhost"}:${hotrun.port}/`);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.pathname = address.pathname.replace(/[^/]*$/, "overlay");
  address.search = `?token=${hotrun.token}`;
  let socket = null;
  let pause = 0;
  let timer = 0;
  let reloads = hotrun.reloads;

  /** The page's answer began before browsers reloaded last, so it may be of the generation before. */
  const isOld = () => {
    const began = performance.getEntriesByType("navigation")[0]?.responseStart;
    // All by the page's own clock: a wall clock may be set.
    const asked = source && performance.getEntriesByName(source, "resource")[0]?.startTime;
    return began && asked && hotrun.ago !== null && began < asked - hotrun.ago;
  };

  const hear = (message) => {
    if (message.command === "hello") {
      pause = 0;
      // The page was away, asleep or kept for the back button, when browsers reloaded.
      if (message.reloads !== reloads || isOld()) reload();
    } else if (message.command === "reloads") reloads = message.count;
    else if (message.command === "reload") change(message.path);
    else if (message.command === "picture") show(message);
  };

  const connect = () => {
    clearTimeout(timer);
    if (socket) return;
    let mine;
    try {
      mine = socket = new WebSocket(address);
    } catch {
      return; // The page's own policy is against it.
    }
    mine.addEventListener("open", () => {
      mine.send(JSON.stringify({ command: "hello", protocols: [PROTOCOL] }));
    });
    mine.addEventListener("message", ({ data }) => {
      if (mine === socket) hear(JSON.parse(data));
    });
    mine.addEventListener("close", ({ code }) => {
      if (mine !== socket) return;
      socket = null;
      if (code === OTHER_RUN) return reload();
      // Nobody knows any more what is wrong.
      show(null);
      pause = Math.min(LONGEST, pause * 1.5 || 200);
      timer = setTimeout(connect, pause * (0.75 + Math.random() / 2));
    });
  };

  const disconnect = () => {
    clearTimeout(timer);
    const mine = socket;
    socket = null;
    mine?.close();
  };

  // Browsers keep pages for the back button that have no connection.
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", ({ persisted }) => persisted && connect());
  document.addEventListener("visibilitychange", () => document.hidden || connect());

  connect();
})
