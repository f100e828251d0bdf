/* The button that saves a chapter's notebook. A browser that has opened the book from a folder shows a file's text
   instead of saving it: there it opens beside the chapter, and says what to do. */
(() => {
  if (location.protocol !== "file:") return;
  for (const link of document.querySelectorAll("a.btn-download-notebook-button")) {
    link.removeAttribute("download");
    link.target = "_blank";
    link.title = "Opens the notebook's text: save that page (Ctrl+S) under its name";
  }
})();
