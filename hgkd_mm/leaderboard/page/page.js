// Everything that comes from a record enters the document as text (textContent, Plotly text is escaped), never as markup.
const $ = window.jQuery;
const read = id => JSON.parse(document.getElementById(id).textContent);
const { comparisons, rows, reported, problems } = read('content');
const lazy = {};
const lazily = id => (lazy[id] ??= read(id));
const byId = id => document.getElementById(id);
// Okabe-Ito: told apart by colour-blind readers too. Scratch is always grey.
const GREY = '#7b8494';
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
const SYMBOLS = ['circle', 'square', 'diamond', 'triangle-up', 'cross', 'star', 'pentagon', 'hexagon'];
const SCRATCH = 'from scratch';

rows.forEach((row, index) => {
  const c = comparisons[row.comparison];
  Object.assign(row, { index, task: c.task, protocol: c.protocol, group: `${c.task} · ${c.data} · ${c.protocol}` });
  row.text = [c.task, c.data, c.protocol, row.student, row.network, row.start, row.teacher, row.budget].join(' ').toLowerCase();
});

// -- small helpers -------------------------------------------------------------------------------

function node(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children.filter(child => child !== null && child !== undefined && child !== ''));
  return element;
}
const fixed = (value, digits = 1) => (value === null || value === undefined ? '' : value.toFixed(digits));
const spread = (value, std) => fixed(value) + (std === null ? '' : ` ±\u00a0${fixed(std)}`);
const plain = text => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const unique = values => [...new Set(values)];
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function gain(entry) {
  if (!entry) return '–';
  const [value, p, pairs] = entry;
  const sign = value > 0 ? '+' : '';
  return node('span', { className: value > 0 ? 'up' : value < 0 ? 'down' : '' }, sign + fixed(value),
    node('small', { className: 'p', textContent: p === null ? (pairs > 1 ? `n = ${pairs}` : '') : `p ${p < 0.001 ? '< 0.001' : `= ${p.toPrecision(2)}`}, n = ${pairs}` }));
}

// -- the table -----------------------------------------------------------------------------------

const cells = {
  open: row => node('button', { type: 'button', className: 'open', textContent: '▸', ariaExpanded: 'false', ariaLabel: `Details of ${row.student}, ${row.start}` }),
  student: row => node('div', {}, row.student, node('small', { textContent: row.network })),
  start: row => node('div', {}, row.start, node('small', { textContent: [row.teacher, row.budget].filter(Boolean).join(', ') })),
  value: row => node('div', {}, node('strong', { textContent: spread(row.value, row.std) }),
    ...[[comparisons[row.comparison].metric, null, null], ...row.others].map(([label, value, std]) =>
      node('small', { textContent: value === null ? label : `${spread(value, std)} ${label}` }))),
};
const column = (title, sort, render, className = '') => ({
  title, className,
  data: row => row,
  render: (row, type) => (type === 'display' ? render(row) : sort(row)),
  searchable: false,
});
// A missing number sorts last in both directions only by being lower than all: that is good enough, and stable.
const number = get => row => get(row) ?? -Infinity;
const table = $('#table').DataTable({
  data: rows,
  deferRender: true,
  autoWidth: false,
  pageLength: 25,
  lengthMenu: [10, 25, 100, 500],
  layout: { topStart: null, topEnd: null, bottomStart: ['info', 'pageLength'], bottomEnd: 'paging' },
  language: { lengthMenu: '_MENU_ rows a page', entries: { _: 'rows', 1: 'row' }, zeroRecords: 'No row fits the filters.' },
  orderFixed: { pre: [[0, 'asc']] },  // rows of different comparisons are never mixed
  order: [[2, 'asc']],
  rowGroup: { dataSrc: 'comparison', startRender: (_, index) => {
    const c = comparisons[index];
    return node('div', {}, `${c.task[0].toUpperCase()}${c.task.slice(1)}: ${c.data} `, node('span', { textContent: c.protocol }));
  } },
  createdRow: element => element.classList.add('item'),
  columns: [
    { title: 'comparison', data: 'comparison', visible: false },
    { title: '<span class="sr">Details</span>', className: 'open', data: row => row, orderable: false, render: (row, type) => (type === 'display' ? cells.open(row) : '') },
    column('#', row => row.rank, row => String(row.rank), 'num rank'),
    column('Student', row => row.student, cells.student, 'student'),
    column('Backbone starts from', row => `${row.start} ${row.teacher}`, cells.start, 'start'),
    column('Result', number(row => row.value), cells.value, 'num result'),
    column('Over scratch', number(row => row.scratch?.[0]), row => gain(row.scratch), 'num gain'),
    column('Over SparK', number(row => row.spark?.[0]), row => gain(row.spark), 'num opt'),
    column('Params, M', row => row.params, row => node('div', {}, fixed(row.params / 1e6, 2),
      node('small', { textContent: row.gmacs === null ? '' : `${fixed(row.gmacs, 2)} GMACs` })), 'num opt'),
    column('Latency, ms', number(row => row.latency[0]?.[1]), row => node('div', {},
      ...(row.latency.length ? row.latency.map(([device, median]) => node('div', { title: device }, fixed(median, 2),
        row.latency.length > 1 ? node('small', { textContent: device }) : null)) : ['–'])), 'num opt latency'),
    column('Runs', row => row.runs, row => String(row.runs), 'num opt'),
  ],
});

const phone = matchMedia('(max-width: 720px)');
const narrow = `.opt, .rank${new Set(rows.map(row => row.student)).size > 1 ? '' : ', .student'}`;
const fit = () => table.columns(narrow).visible(!phone.matches).draw(false);
phone.addEventListener('change', fit);
fit();

// -- filters -------------------------------------------------------------------------------------

const filters = { task: byId('f-task'), student: byId('f-student'), method: byId('f-method'), protocol: byId('f-protocol') };
for (const [key, select] of Object.entries(filters)) {
  select.append(new Option('all', ''), ...unique(rows.map(row => row[key])).sort().map(value => new Option(value, value)));
  select.addEventListener('change', () => table.draw());
}
let typed;
byId('f-search').addEventListener('input', () => { clearTimeout(typed); typed = setTimeout(() => table.draw(), 120); });
byId('filters').addEventListener('reset', () => setTimeout(() => table.draw()));
byId('filters').addEventListener('submit', event => event.preventDefault());
$.fn.dataTable.ext.search.push((settings, _, index, row) => settings.nTable.id !== 'table' ||
  (Object.entries(filters).every(([key, select]) => !select.value || row[key] === select.value) &&
   byId('f-search').value.toLowerCase().split(/\s+/).every(word => row.text.includes(word))));

// -- a row's details -----------------------------------------------------------------------------

function list(facts) {
  return node('dl', {}, ...facts.flatMap(([term, value]) => [node('dt', { textContent: term }), node('dd', { textContent: value })]));
}
function block(title, ...children) { return node('div', {}, node('h3', { textContent: title }), ...children); }
function grid(head, lines) {
  return node('div', { className: 'scroll' }, node('table', {},
    node('thead', {}, node('tr', {}, ...head.map(text => node('th', { textContent: text, scope: 'col' })))),
    node('tbody', {}, ...lines.map(line => node('tr', {}, ...line.map(value => node('td', {}, value instanceof Node ? value : String(value ?? '–'))))))));
}
function details(row) {
  const found = JSON.parse(lazily('details')[row.index]);
  const pictures = found.pictures.map(number => lazily('pictures')[number]);
  const curves = found.curves.map(chart => node('figure', {}, node('h3', { textContent: chart.title }), node('div', { className: 'curve' })));
  const element = node('div', { className: 'details' },
    node('div', { className: 'facts' },
      block('Provenance', list(found.provenance)),
      block('Protocol', list(found.protocol)),
      block('Metrics', list(found.metrics.map(([label, value, std]) => [label, spread(value, std)]))),
      row.latency.length ? block('Latency, one image', list(row.latency.map(([device, median, p90]) => [device, `median ${fixed(median, 2)} ms, p90 ${fixed(p90, 2)} ms`]))) : null),
    node('div', { className: 'columns' }, ...curves),
    block('Runs', grid(Object.keys(found.runs[0]), found.runs.map(run => Object.values(run)))),
    ...(pictures.length ? [node('div', { className: 'columns' }, ...pictures.map(({ uri, caption }) =>
      node('figure', {}, node('img', { src: uri, alt: caption }), node('figcaption', { textContent: caption }))))] : []));
  found.curves.forEach((chart, index) => draw(curves[index].lastChild, chart.lines.map((line, i) => ({
    x: line.x, y: line.y, name: plain(line.name), mode: line.x.length < 40 ? 'lines+markers' : 'lines', line: { color: COLOURS[(line.colour ?? i) % COLOURS.length], dash: line.dash ?? 'solid', width: 2 },
  })), { xaxis: { title: { text: 'epoch' } }, yaxis: { title: { text: plain(chart.y) } }, showlegend: chart.lines.length > 1, legend: { orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom', font: { size: 11 } }, margin: { l: 50, r: 10, t: 8, b: 40 } }));
  return element;
}
function toggle(element, show) {
  const row = table.row(element), button = element.querySelector('button.open');
  const open = show ?? !row.child.isShown();
  if (open && !row.child.isShown()) row.child(details(row.data())).show();
  else if (!open) row.child.hide();
  button.setAttribute('aria-expanded', String(open));
}
$('#table tbody').on('click', 'tr.item', event => {
  if (!event.target.closest('a') && !String(getSelection())) toggle(event.currentTarget);
});
function reveal(index) {
  const position = table.rows({ search: 'applied', order: 'applied' }).indexes().toArray().indexOf(index);
  if (position < 0) return;
  table.page(Math.floor(position / table.page.len())).draw('page');
  const element = table.row(index).node();
  toggle(element, true);
  element.scrollIntoView({ block: 'start' });
  element.querySelector('button.open').focus();
}

// -- charts --------------------------------------------------------------------------------------

let plotly;  // 5 MB of script: run when the first chart is drawn
const drawn = new Map();
async function draw(element, traces, layout) {
  drawn.set(element, [traces, layout]);
  plotly ??= new Promise(done => requestAnimationFrame(() => {
    document.head.append(node('script', { textContent: byId('plotly').textContent }));
    done(window.Plotly);
  }));
  const Plotly = await plotly;
  const [ink, line] = [colour('--ink'), colour('--line')];
  const axis = { color: ink, gridcolor: line, zerolinecolor: line, automargin: true };
  await Plotly.react(element, traces, {
    paper_bgcolor: 'transparent', plot_bgcolor: 'transparent', font: { color: ink, size: 12 }, hovermode: 'closest', modebar: { bgcolor: 'transparent', color: colour('--soft') },
    legend: { orientation: 'h', y: -0.25 }, ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  }, { responsive: true, displaylogo: false, displayModeBar: phone.matches ? false : 'hover', modeBarButtonsToRemove: ['select2d', 'lasso2d'] });
}
function paretoFront(points) {
  let best = -Infinity;
  return points.toSorted((a, b) => a.x - b.x || b.y - a.y).filter(({ y }) => y > best && ((best = y), true));
}
function scatter(id, points, xTitle, yTitle, hint) {
  const element = byId(id);
  const methods = unique(rows.map(row => row.method)).filter(name => name !== SCRATCH).sort();
  const students = unique(rows.map(row => row.student)).sort();
  const front = paretoFront(points);
  const traces = unique(points.map(({ row }) => row.method)).map(method => {
    const own = points.filter(({ row }) => row.method === method);
    return {
      x: own.map(p => p.x), y: own.map(p => p.y), customdata: own.map(p => p.row.index), mode: 'markers', type: 'scatter', name: plain(method),
      error_y: { type: 'data', array: own.map(p => p.row.std ?? 0), visible: own.some(p => p.row.std), thickness: 1, width: 3 },
      text: own.map(({ row }) => plain([row.student, row.start, row.teacher, row.budget].filter(Boolean).join(', '))),
      hovertemplate: `%{text}<br>%{y:.1f} ${plain(yTitle)}<br>%{x:.2f} ${plain(xTitle)}<extra></extra>`,
      marker: { size: 11, color: method === SCRATCH ? GREY : COLOURS[methods.indexOf(method) % COLOURS.length], symbol: own.map(({ row }) => SYMBOLS[students.indexOf(row.student) % SYMBOLS.length]) },
    };
  });
  if (front.length > 1) traces.unshift({ x: front.map(p => p.x), y: front.map(p => p.y), mode: 'lines', name: 'Pareto front', line: { dash: 'dash', color: colour('--soft'), width: 1.5 }, hoverinfo: 'skip' });
  const values = points.map(p => p.x);
  const wide = points.length > 1 && Math.max(...values) > 10 * Math.min(...values);
  const annotations = points.length ? [] : [{ text: hint, showarrow: false, xref: 'paper', yref: 'paper', x: 0.5, y: 0.5 }];
  const visible = points.length > 0;
  draw(element, traces, { xaxis: { title: { text: plain(xTitle) }, type: wide ? 'log' : 'linear', visible }, yaxis: { title: { text: plain(yTitle) }, visible }, margin: { l: 55, r: 15, t: 10, b: 50 }, annotations })
    .then(() => onClick(element));
}
const onClick = element => {
  element.removeAllListeners?.('plotly_click');
  element.on('plotly_click', ({ points: [point] }) => point.customdata !== undefined && reveal(point.customdata));
};
// Every run of every row, those of the same fold and seed joined: what is compared in pairs.
function pairs(shown, yTitle) {
  const element = byId('chart-runs'), best = shown.toSorted((a, b) => b.value - a.value);
  element.parentElement.hidden = best.length < 2 || best.length > 16;
  if (element.parentElement.hidden) return;
  // As much of a row's name as tells the rows apart.
  let names = best.map(row => plain(row.start));
  for (const key of ['student', 'teacher', 'budget']) if (new Set(names).size < best.length) names = names.map((name, i) => `${name}<br>${plain(best[i][key])}`);
  if (phone.matches) names = names.map(name => name.replaceAll(' ', '<br>'));
  const labels = unique(best.flatMap(row => row.points.map(([label]) => label))).filter(Boolean).sort();
  const traces = labels.map((label, index) => ({
    x: best.map((_, x) => x), y: best.map(row => row.points.find(([own]) => own === label)?.[1] ?? null), name: plain(label), connectgaps: true, mode: 'lines+markers',
    line: { width: 1, color: GREY }, marker: { size: 6, symbol: `${SYMBOLS[index % SYMBOLS.length]}-open` }, hovertemplate: `${plain(label)}: %{y:.1f} ${plain(yTitle)}<extra></extra>`,
  }));
  traces.push({
    x: best.map((_, x) => x), y: best.map(row => row.value), customdata: best.map(row => row.index), mode: 'markers', name: 'mean ± standard deviation',
    error_y: { type: 'data', array: best.map(row => row.std ?? 0), visible: best.some(row => row.std), thickness: 1.5, width: 5 },
    marker: { size: 12, color: COLOURS[0] }, hovertemplate: `%{y:.1f} ${plain(yTitle)}<extra></extra>`,
  });
  draw(element, traces, {
    xaxis: { tickvals: best.map((_, x) => x), ticktext: names, range: [-0.5, best.length - 0.5], showgrid: false, zeroline: false }, yaxis: { title: { text: plain(yTitle) } },
    legend: { orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom' }, margin: { l: 55, r: 15, t: 10, b: 40 },
  }).then(() => onClick(element));
}
function charts() {
  const comparison = Number(byId('c-comparison').value), device = byId('c-device').value;
  const shown = table.rows({ search: 'applied' }).data().toArray().filter(row => row.comparison === comparison);
  const metric = comparisons[comparison].metric;
  pairs(shown, metric);
  const timed = shown.flatMap(row => row.latency.filter(([name]) => name === device).map(([, median]) => ({ x: median, y: row.value, row })));
  if (devices.length) scatter('chart-latency', timed, 'latency, ms', metric, 'No latency measured: tools/latency.py');
  scatter('chart-params', shown.map(row => ({ x: row.params / 1e6, y: row.value, row })), 'backbone parameters, M', metric, 'No row fits the filters');
}
const devices = unique(rows.flatMap(row => row.latency.map(([device]) => device))).sort();
byId('c-device').append(...devices.map(name => new Option(name, name)));
byId('chart-latency').parentElement.hidden = byId('c-device').parentElement.hidden = !devices.length;
comparisons.forEach((c, index) => byId('c-comparison').append(new Option(`${c.task} · ${c.data} · ${c.protocol}`, index)));
const counts = comparisons.map((_, index) => rows.filter(row => row.comparison === index).length);
byId('c-comparison').value = counts.indexOf(Math.max(...counts));
['c-comparison', 'c-device'].forEach(id => byId(id).addEventListener('change', charts));
let planned;
table.on('search.dt draw.dt', () => { clearTimeout(planned); planned = setTimeout(() => {
  const left = table.rows({ search: 'applied' }).data().toArray();
  const chosen = Number(byId('c-comparison').value);
  if (left.length && !left.some(row => row.comparison === chosen)) byId('c-comparison').value = left[0].comparison;
  charts();
}, 150); });
charts();

// -- the rest of the page ------------------------------------------------------------------------

if (reported.length) {
  byId('reported').hidden = false;
  byId('reported-table').replaceWith(grid(['Task', 'Student', 'Method', 'Data', 'Protocol', 'Reported', 'State', 'Source'], reported.map(r => [
    r.task, r.student, r.method, r.data, r.protocol, r.metrics.map(([label, value]) => `${value} ${label}`).join(', '),
    node('span', { className: `badge ${r.state.name === 'reproduced' ? 'reproduced' : ''}`, textContent: r.state.text }),
    node('a', { href: r.source, rel: 'noopener noreferrer', textContent: `${new URL(r.source).host}, ${r.place}` }),
  ])));
}
if (problems.length) {
  byId('problems').hidden = false;
  byId('problems').querySelector('ul').append(...problems.map(text => node('li', { textContent: text })));
}
const root = document.documentElement;
function setTheme(dark) {
  root.classList.toggle('dark', dark);
  drawn.forEach(([traces, layout], element) => (element.isConnected ? draw(element, traces, layout) : drawn.delete(element)));
}
const preferred = matchMedia('(prefers-color-scheme: dark)');
preferred.addEventListener('change', event => setTheme(event.matches));
byId('theme').addEventListener('click', () => setTheme(!root.classList.contains('dark')));
setTheme(preferred.matches);
root.dataset.ready = 'true';
