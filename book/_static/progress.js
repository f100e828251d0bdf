/* A reader's own progress: which chapters were opened and ticked. It stays in this browser. */
(() => {
  const KEY = "resnet-tutorial-progress"; // {"03_residual_block": "done", "04_bottleneck": "begun"}
  const all = document.querySelector('[data-progress="all"]');
  const mark = document.querySelector('[data-progress="chapter"]');
  const begin = document.querySelector(".home-ways a");
  const FIRST = begin && { href: begin.href, words: begin.textContent };
  const name = (address) => address.split(/[?#]/)[0].split("/").pop().replace(/\.html$/, "");

  /** Return what is kept; nothing where the browser keeps nothing, or where it is not ours. */
  const read = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
      return kept && typeof kept === "object" && !Array.isArray(kept) ? kept : {};
    } catch {
      return {};
    }
  };
  const write = (kept) => {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
      return true;
    } catch {
      return false; // private windows, or no room
    }
  };

  /** Tick the chapters that are done in the list of all chapters. */
  const showList = (kept) => {
    for (const link of document.querySelectorAll(".bd-sidebar-primary .bd-links a")) {
      const done = kept[name(link.getAttribute("href"))] === "done" || (mark && link.getAttribute("href") === "#"
        && kept[name(location.pathname)] === "done");
      link.classList.toggle("book-done", done);
      if (done) link.setAttribute("aria-description", "done");
      else link.removeAttribute("aria-description");
    }
  };

  /** Show the count, the cards' states, and where to go on. */
  const showAll = (kept) => {
    const cards = [...document.querySelectorAll(".chapter-card")];
    for (const card of cards) card.querySelector(".chapter-card-state").textContent = { done: "✓ done", begun: "begun" }[kept[card.dataset.chapter]] ?? "";
    const done = cards.filter((card) => kept[card.dataset.chapter] === "done").length;
    all.hidden = !cards.some((card) => kept[card.dataset.chapter]);
    all.querySelector("strong").textContent = `${done} of ${cards.length} chapters worked through`;
    Object.assign(all.querySelector("progress"), { max: cards.length, value: done });
    // The chapter after the last one that was ticked, or else the first that was opened.
    const open = (card) => kept[card.dataset.chapter] !== "done";
    const last = cards.findLastIndex((card) => !open(card));
    const next = last < 0 ? cards.find((card) => kept[card.dataset.chapter]) : cards.slice(last).find(open) ?? cards.find(open);
    const link = all.querySelector("a");
    link.hidden = !next;
    if (next) {
      link.href = next.getAttribute("href");
      link.textContent = `Go on: ${next.querySelector(".chapter-card-title").textContent}`;
    }
    begin.href = next ? link.href : FIRST.href;
    begin.textContent = next ? `Go on with chapter ${cards.indexOf(next) + 1}` : FIRST.words;
  };

  if (all) {
    all.innerHTML = `<strong></strong><progress aria-label="chapters done"></progress><a href="01_why_depth_fails.html"></a>
      <button type="button">Forget my ticks</button>
      <span class="book-progress-words">Kept in this browser alone.</span>`;
    all.querySelector("button").addEventListener("click", () => {
      if (!confirm("Forget which chapters you have ticked? This cannot be undone.")) return;
      write({});
      showAll({});
      showList({});
    });
    addEventListener("pageshow", () => {
      showAll(read()); // also after a step back
      showList(read());
    });
  }
  if (mark) {
    mark.innerHTML = `<label><input type="checkbox"> I have worked through this chapter</label>
      <span class="book-progress-words">Kept in this browser alone, for the ticks on the home page; points are counted in the notebooks.</span>`;
    const here = name(location.pathname);
    const kept = read();
    if (write(kept)) {
      // A glance is no beginning: a chapter counts as begun after half a minute.
      setTimeout(() => read()[here] || write({ ...read(), [here]: "begun" }), 30_000);
      const box = mark.querySelector("input");
      box.checked = kept[here] === "done";
      mark.hidden = false;
      box.addEventListener("change", () => {
        const now = { ...read(), [here]: box.checked ? "done" : "begun" };
        write(now);
        showList(now);
      });
    }
  }
  showList(read());
})();
