/**
 * Takes the picture of the demo for the README; with a folder as argument, those of other sizes and colours too, to be
 * looked at there.
 */
import { startBrowser, startServer, waitForPeople } from "./stage.mjs";

const folder = process.argv[2];
const out = folder ?? new URL("../docs/images/", import.meta.url).pathname;
const shots = [
  ["demo.png", { colorScheme: "light" }],
  ["demo-dark.png", { colorScheme: "dark" }],
  ["demo-phone.png", { viewport: { width: 390, height: 844 }, colorScheme: "light" }],
].slice(0, folder ? undefined : 1);

const cast = [
  { name: "Ada", hue: 240, at: [0.22, 0.3], says: "what about this one?" },
  { name: "Grace", hue: 150, at: [0.62, 0.22] },
  { name: "Linus", hue: 30, at: [0.44, 0.62], typing: true },
];

const [browser, server] = await Promise.all([startBrowser(), startServer()]);
for (const [file, options] of shots) await take(file, options);
await browser.close();
await server.kill();

/** Who watches is there first, and has events to show. */
async function take(file, options) {
  const windows = [await openAs({ name: "Jane", hue: 300 }, options)];
  for (const one of cast) {
    const page = await openAs(one);
    windows.push(page);
    await act(page, one);
  }
  const [jane] = windows;
  await waitForPeople(jane, 1 + cast.length);
  await jane.locator(".cursor.typing").waitFor();
  await jane.screenshot({ path: `${out}/${file}` });
  if (folder) {
    await jane.locator("#show-code").click();
    await jane.screenshot({ path: `${out}/code-${file}` });
  }
  await Promise.all(windows.map((page) => page.context().close()));
}

async function openAs({ name, hue }, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 760 }, ...options });
  const identity = JSON.stringify({ userId: `guest-${name}`, name, hue });
  await context.addInitScript((identity) => sessionStorage.setItem("herenow-demo-identity", identity), identity);
  const page = await context.newPage();
  await page.goto(`${server.url}#team-board`);
  await page.waitForSelector('#status[data-status="connected"]');
  return page;
}

async function act(page, { at: [x, y], says, typing }) {
  const { left, top, width, height } = await page.locator("#stage").evaluate((stage) => stage.getBoundingClientRect());
  await page.mouse.move(left + width * x, top + height * y, { steps: 8 });
  if (says || typing) await page.locator("#words").pressSequentially(says ?? "hm");
  if (says) await page.locator("#words").press("Enter");
}
