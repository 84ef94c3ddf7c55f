# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The look of the status page: readable on a phone, in light and in dark, and without colour."""

from __future__ import annotations

import typing as t

STYLE: t.Final = """
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --text: #1c2128; --faint: #59636e; --line: #d4d9df;
  --good: #1a6b35; --good-back: #e3f4e8; --warning: #7a4d00; --warning-back: #fdf1d6;
  --critical: #a3161f; --critical-back: #fde6e6; --settled: #4a545f; --settled-back: #eaedf0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --card: #1d2127; --text: #e4e7eb; --faint: #a0a9b3; --line: #363d46;
    --good: #7bd495; --good-back: #16301f; --warning: #f0bf62; --warning-back: #362a12;
    --critical: #ff9a95; --critical-back: #41191b; --settled: #b4bcc5; --settled-back: #2a3038;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 3rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1, h2, h3, p, dl, dd, ul { margin: 0; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.2rem; line-height: 1.35; }
h3 { font-size: 1rem; }
ul { padding: 0; list-style: none; }
a { color: inherit; }
code { font: 0.875em/1.5 ui-monospace, monospace; }
time { white-space: nowrap; }
.faint { color: var(--faint); font-size: 0.875rem; }
header { margin-bottom: 1.25rem; }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; padding: 1rem 1.25rem;
  margin-bottom: 1.25rem;
}
.head { display: flex; flex-wrap: wrap; gap: 0.25rem 0.75rem; align-items: baseline; margin-bottom: 0.75rem; }
.state {
  display: inline-block; border-radius: 0.25rem; padding: 0 0.5rem; font-size: 0.875rem; font-weight: 600;
  border: 1px solid currentColor;
}
.good { color: var(--good); background: var(--good-back); }
.warning { color: var(--warning); background: var(--warning-back); }
.critical { color: var(--critical); background: var(--critical-back); }
.settled, .note { color: var(--settled); background: var(--settled-back); }
.problems { margin-bottom: 1rem; }
.problems li { border-left: 0.25rem solid currentColor; padding: 0.375rem 0.75rem; margin-bottom: 0.375rem; }
.problems li span { color: var(--text); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19.5rem, 100%), 1fr)); gap: 0.75rem 1.5rem; }
.facts dt, th { color: var(--faint); font-size: 0.8125rem; font-weight: 600; text-align: left; }
.counts { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: 0.5rem 1rem; }
.counts div { display: flex; flex-direction: column-reverse; }
.counts dd { font-size: 1.5rem; font-weight: 600; line-height: 1.25; }
.counts dt { color: var(--faint); font-size: 0.875rem; }
details { margin-top: 1rem; border-top: 1px solid var(--line); padding-top: 0.75rem; }
summary { cursor: pointer; font-weight: 600; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; margin-top: 0.5rem; }
th, td { padding: 0.5rem 0.75rem 0.5rem 0; vertical-align: top; }
td { border-top: 1px solid var(--line); }
th:nth-child(1) { width: 30%; }
th:nth-child(2) { width: 15%; }
th:nth-child(4) { width: 17%; }
td p + p, td p + ul, td ul + p { margin-top: 0.25rem; }
@media (max-width: 46rem) {
  body { padding: 1rem 0.75rem 2rem; }
  .card { padding: 0.875rem 0.875rem; }
  table, tbody, tr, td { display: block; width: auto; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { border-top: 1px solid var(--line); padding: 0.625rem 0; }
  tbody tr:first-child { border-top: 0; }
  td { border: 0; padding: 0.125rem 0; }
  td[data-label]::before { content: attr(data-label); display: block; color: var(--faint); font-size: 0.8125rem; }
}
@media print {
  body { background: none; }
  .card { break-inside: avoid-page; }
}
"""
