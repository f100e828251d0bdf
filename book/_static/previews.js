/* A glossary term's meaning beside its link, while the link is pointed at or has the focus. Escape puts it away.
   A finger cannot point without tapping: the first tap shows the meaning, a second one follows the link. */
(() => {
  const data = document.getElementById("term-previews");
  if (!data) return;
  const meanings = JSON.parse(data.textContent);
  const note = Object.assign(document.createElement("div"), { id: "term-preview", className: "term-preview", hidden: true });
  note.setAttribute("role", "tooltip");
  note.setAttribute("aria-live", "polite"); // a tap leaves the focus where it is
  document.body.append(note);
  let shown = null; // the link whose meaning is shown
  let waiting = 0;
  let finger = false; // whether the last press was one

  const hide = () => {
    clearTimeout(waiting);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    note.hidden = true;
  };

  const show = (link) => {
    if (shown === link) return;
    hide();
    shown = link;
    note.hidden = false;
    note.classList.toggle("tapped", finger);
    note.textContent = meanings[link.hash.slice(1)];
    link.setAttribute("aria-describedby", note.id);
    const at = link.getClientRects()[0]; // a link that is broken over two lines has two
    const { width, height } = note.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
    const below = at.bottom + 6 + height < innerHeight || at.top < height + 6;
    note.style.left = `${left + scrollX}px`;
    note.style.top = `${(below ? at.bottom + 6 : at.top - 6 - height) + scrollY}px`;
  };

  const later = (work, milliseconds) => {
    clearTimeout(waiting);
    waiting = setTimeout(work, milliseconds);
  };

  for (const link of document.querySelectorAll('.bd-article a[href*="glossary.html#term-"]')) {
    if (!(link.hash.slice(1) in meanings)) continue;
    link.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && later(() => show(link), 250));
    link.addEventListener("pointerleave", () => later(hide, 250)); // time to move on to the note itself
    link.addEventListener("focus", () => link.matches(":focus-visible") && show(link));
    link.addEventListener("blur", hide);
    link.addEventListener("click", (event) => {
      if (!finger || shown === link) return;
      event.preventDefault();
      show(link);
    });
  }
  note.addEventListener("pointerenter", () => clearTimeout(waiting));
  note.addEventListener("pointerleave", () => later(hide, 250));
  addEventListener("pointerdown", (event) => {
    finger = event.pointerType === "touch";
    if (finger && shown && !note.contains(event.target) && !shown.contains(event.target)) hide();
  });
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();
