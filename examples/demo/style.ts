/** The one style sheet. No fonts, pictures or files of others. */
export const style = `
:root {
	color-scheme: light dark;
	--ground: #f5f6fa; --card: #fff; --ink: #1b1e28; --quiet: #5b6172; --line: #e1e4ee;
	--accent: #4f46e5; --on-accent: #fff; --tint: #eef0ff; --focus: #d97706;
	--banner: #fff3d1; --on-banner: #5c4200;
	--hit: #0b6b43; --hit-ground: #daf5e6; --cached: #0b5c8a; --cached-ground: #dcf0fb;
	--refreshed: #4338ca; --refreshed-ground: #e6e7ff; --stale: #8a4b00; --stale-ground: #ffecd0;
	--inflight: #86198f; --inflight-ground: #fbe5fd;
}
@media (prefers-color-scheme: dark) {
	:root {
		--ground: #0f1118; --card: #181b25; --ink: #eceef6; --quiet: #a2a9bd; --line: #2b3040;
		--accent: #a5b0ff; --on-accent: #14163a; --tint: #22263a; --focus: #fbbf24;
		--banner: #3a2f10; --on-banner: #ffe6a6;
		--hit: #7ee2b0; --hit-ground: #12382a; --cached: #8fd3fb; --cached-ground: #10344a;
		--refreshed: #b9c0ff; --refreshed-ground: #2a2e63; --stale: #ffc27a; --stale-ground: #43290a;
		--inflight: #f0a6f7; --inflight-ground: #43194a;
	}
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; background: var(--ground); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
a { color: var(--accent); text-underline-offset: .18em; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 3px; border-radius: .3rem; }
h1, h2 { line-height: 1.15; letter-spacing: -.015em; text-wrap: balance; }
p { text-wrap: pretty; }
.quiet, small { color: var(--quiet); }
small { font-size: .875em; }
code { font: .875em ui-monospace, monospace; overflow-wrap: anywhere; }

.banner { margin: 0; padding: .55rem 1.25rem; background: var(--banner); color: var(--on-banner); font-size: .9rem; text-align: center; }
header, main { width: min(64rem, 100% - 2.5rem); margin-inline: auto; }
header { display: flex; align-items: center; justify-content: space-between; gap: 1rem; min-height: 2.75rem; margin-block: 1.25rem 2rem; }
.brand { display: flex; align-items: center; gap: .65rem; color: inherit; font-weight: 650; font-size: 1.1rem; text-decoration: none; }
.brand small { font-weight: 400; }
.brand img { display: block; }
main { padding-bottom: 4rem; }

.button, button { display: inline-block; padding: .6rem 1.15rem; border: 1px solid var(--accent); border-radius: .65rem;
	background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; line-height: 1.3; text-decoration: none; cursor: pointer; }
.plain { background: none; color: inherit; border-color: var(--quiet); }
.button:hover, button:hover { filter: brightness(1.1); }
.plain:hover { background: var(--tint); filter: none; }
.button:focus-visible, button:focus-visible { border-radius: .65rem; }

.hero { max-width: 54rem; padding-block: clamp(1rem, 6vw, 3.5rem) 1.5rem; }
.hero h1 { margin: 0 0 1.1rem; font-size: clamp(2rem, 6vw, 3.25rem); }
.hero .button { font-size: 1.1rem; padding: .8rem 1.9rem; }
.hero .quiet { margin-block: .5rem 0; }
.lead { max-width: 44rem; margin: 0 0 1.75rem; font-size: 1.15rem; color: var(--quiet); }
.status { margin: 0 0 .5rem; font-weight: 650; color: var(--accent); }
.steps { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1.25rem; margin: 2rem 0; padding: 0; list-style: none; counter-reset: step; }
.steps li { counter-increment: step; padding: 1.25rem 1.4rem; background: var(--card); border: 1px solid var(--line); border-radius: 1rem; }
.steps h2 { margin: 0 0 .4rem; font-size: 1.05rem; }
.steps h2::before { content: counter(step) '  '; color: var(--accent); }
.steps p { margin: 0; color: var(--quiet); }
.note { font-size: .9rem; }

.columns { display: grid; grid-template-columns: minmax(15rem, 19rem) minmax(0, 1fr); gap: 1.5rem; align-items: start; }
.card { padding: 1.75rem; background: var(--card); border: 1px solid var(--line); border-radius: 1.25rem; box-shadow: 0 1px 2px #0000000a, 0 10px 30px #0000000a; }
.card > p:last-child { margin-bottom: 0; }
dl { display: grid; gap: .15rem; margin: 1.25rem 0; }
dt { color: var(--quiet); font-size: .85rem; }
dd { margin: 0 0 .65rem; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
dd small { display: block; }

.photo { position: relative; display: grid; place-items: center; width: 6rem; height: 6rem; border-radius: 50%; overflow: hidden;
	background: var(--refreshed-ground); color: var(--refreshed); font-size: 1.9rem; font-weight: 650; }
/* Over the initials: where there is no photo, a background is nothing, and an img would be a broken picture. */
.photo::after { content: ''; position: absolute; inset: 0; background: url(/user/photo) center / cover; }
.person h1 { margin: 1.1rem 0 .2rem; font-size: 1.5rem; overflow-wrap: anywhere; }
.job { margin: 0; color: var(--quiet); }
.person dl:last-child, .person details p { margin-bottom: 0; }
summary { cursor: pointer; color: var(--quiet); font-size: .9rem; }

.token { scroll-margin-top: 10rem; }
.token h2 { margin: 0; font-size: 1.15rem; }
.reading { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .9rem; margin: .6rem 0 .25rem; }
.took { font-size: 2.75rem; font-weight: 700; letter-spacing: -.03em; line-height: 1.1; font-variant-numeric: tabular-nums; }
.badge { display: inline-block; padding: .12rem .7rem; border-radius: 1rem; font-size: .9rem; font-weight: 650; }
.hit { color: var(--hit); background: var(--hit-ground); }
.cached { color: var(--cached); background: var(--cached-ground); }
.refreshed { color: var(--refreshed); background: var(--refreshed-ground); }
.stale { color: var(--stale); background: var(--stale-ground); }
.inflight { color: var(--inflight); background: var(--inflight-ground); }

.path { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.path li { padding: .8rem .9rem; border: 1px dashed var(--line); border-radius: .8rem; color: var(--quiet); }
.path strong, .path span { display: block; }
.path strong { font-size: .95rem; font-weight: 600; line-height: 1.25; }
.path span { font-size: .85rem; }
.path .reached { border: 1px solid var(--accent); background: var(--tint); color: inherit; }
.path .reached span { color: var(--accent); }
.actions { display: flex; flex-wrap: wrap; gap: .65rem; margin: 1.5rem 0; }
.token dl { grid-template-columns: auto 1fr; gap: .35rem 1.5rem; align-items: baseline; padding-top: 1.25rem; border-top: 1px solid var(--line); }
.token dd { margin: 0; }
.scopes code { display: inline-block; padding: 0 .5rem; border-radius: .4rem; background: var(--tint); }

table { width: 100%; margin: 1.25rem 0; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { padding-bottom: .4rem; text-align: left; font-weight: 650; }
th { font-weight: 400; font-size: .85rem; color: var(--quiet); }
th, td { padding: .4rem .75rem .4rem 0; text-align: left; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; text-align: right; white-space: nowrap; }

@media (max-width: 52rem) {
	.columns { grid-template-columns: minmax(0, 1fr); }
	.person { display: grid; grid-template-columns: auto 1fr; column-gap: 1.25rem; align-items: center; }
	.photo { grid-row: span 2; width: 4.5rem; height: 4.5rem; font-size: 1.5rem; }
	.person h1 { margin: 0; align-self: end; }
	.job { align-self: start; }
	.person dl, .person details { grid-column: 1 / -1; }
	.token { scroll-margin-top: 1rem; }
}
@media (max-width: 34rem) {
	header, main { width: min(64rem, 100% - 2rem); }
	.card { padding: 1.25rem; }
	.path { grid-template-columns: 1fr; gap: .4rem; }
	.path li { display: flex; justify-content: space-between; gap: 1rem; padding: .5rem .8rem; }
	.actions form, .actions button { width: 100%; }
	.token dl { grid-template-columns: 1fr; gap: 0; }
	.token dd { margin-bottom: .65rem; }
	th:first-child, td:first-child { display: none; }
}
@media (prefers-contrast: more) { :root { --quiet: var(--ink); --line: var(--ink); } }
@media (forced-colors: active) { .badge, .path .reached { border: 1px solid; } }
`
