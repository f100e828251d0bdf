// How the shape tracer looks around its list.

import { heightOf } from "./network_list.js";

export const STYLE_OF_TRACER = `
.rw [hidden] { display: none !important; }
.rw-net-body { display: grid; grid-template-columns: minmax(0, 1fr) 15.5em; gap: 0.7em 1em; }
.rw-net-body.rw-net-two { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
.rw-net-two .rw-net-details { grid-column: 1 / -1; }
.rw-net-body:not(.rw-net-two) .rw-net-of-two { display: none; }
.rw-net-two .rw-net-shape { min-width: 0; }
.rw-net-two .rw-net-gutter { margin-left: -12px; }
.rw-net-two .rw-net-scale, .rw-net-two .rw-net-to-scale { display: none; }
/* Title, list and legend: two networks have each of them at one height. */
.rw-net-one { min-width: 0; display: grid; grid-row: span 3; grid-template-rows: subgrid; grid-template-columns: minmax(0, 1fr); gap: 0; }
.rw p.rw-net-title { min-height: 2.9em; font-size: 0.95em; margin: 0 0 0.4em; }
.rw-net-asking { min-height: 9.6em; }
.rw-net-asking :focus-visible { outline-offset: 4px; }
.rw-net-details {
  min-height: 23.5em; grid-row: span 3; background: var(--rw-faint); border-radius: 4px; padding: 0.5em 0.8em;
}
.rw-net-two .rw-net-details { min-height: 12em; }
.rw-net-two .rw-net-details .rw-heading { min-height: 0; }
.rw-net-two .rw-net-details dl { columns: 2; }
.rw-net-asks .rw-net-details { min-height: 0; }
.rw-net-details dl > div { break-inside: avoid; }
.rw-net-details .rw-heading { min-height: 2.6em; }
.rw-net-details dl { margin: 0; }
.rw-net-details dt { color: var(--rw-quiet); font-weight: 400; font-size: 0.9em; }
.rw-net-details dd { margin: 0 0 0.35em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.rw-net-reason { border-left: 4px solid #cf4a63; padding: 0.1em 0 0.1em 0.8em; margin-top: 0.7em; }
.rw p.rw-net-legend { color: var(--rw-quiet); font-size: 0.85em; margin-top: 0.4em; }
.rw .rw-net-asked { min-height: 2.9em; margin-bottom: 0.5em; }
.rw .rw-net-verdict { min-height: 2.9em; }
.rw-net-question input {
  font: inherit; width: 5.2em; color: inherit; background: var(--rw-faint); border: 1px solid var(--rw-line);
  border-radius: 4px; padding: 0.2em 0.4em;
}
@container rw (max-width: 49em) {
  .rw-net-body.rw-net-two { grid-template-columns: minmax(0, 1fr); }
  .rw-net-two .rw-net-list { height: ${heightOf(9)}; }
}
@container rw (max-width: 47em) {
  .rw-net-body { grid-template-columns: minmax(0, 1fr); }
  .rw-net-two .rw-net-details dl { columns: 1; }
  .rw-net-details { min-height: 0; }
  .rw-net-used .rw-net-details { min-height: 17em; }
  .rw-net-details dl > div { display: grid; grid-template-columns: 8.2em minmax(0, 1fr); gap: 0 0.6em; }
  .rw-net-details .rw-heading { min-height: 0; }
  .rw-net-asks .rw-net-details { min-height: 6em; }
}
@container rw (max-width: 30em) {
  .rw .rw-net-asked, .rw .rw-net-verdict { min-height: 4.4em; }
  .rw-net-used .rw-net-details, .rw-net-two .rw-net-details { min-height: 23.5em; }
}
`;
