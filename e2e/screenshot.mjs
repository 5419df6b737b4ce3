/**
 * Takes the pictures of the demo: wide for the README, and at other sizes and colours to be looked at.
 */
import { startBrowser, startServer, waitForPeople } from "./stage.mjs";

const out = process.argv[2] ?? new URL("../docs/images/", import.meta.url).pathname;
const [browser, server] = await Promise.all([startBrowser(), startServer()]);
const url = `${server.url}#team-board`;

const cast = [
  { name: "Ada", hue: 210, at: [0.22, 0.3], says: "what about this one?" },
  { name: "Grace", hue: 150, at: [0.62, 0.22] },
  { name: "Linus", hue: 20, at: [0.44, 0.62], typing: true },
];
for (const { name, hue, at, says, typing } of cast) {
  const { page } = await openAs(name, hue);
  await act(page, at, says, typing);
}

async function openAs(name, hue, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 760 }, ...options });
  const identity = JSON.stringify({ userId: `guest-${name}`, name, hue });
  await context.addInitScript((identity) => sessionStorage.setItem("herenow-demo-identity", identity), identity);
  const page = await context.newPage();
  await page.goto(url);
  await page.waitForSelector('#status[data-status="connected"]');
  return { context, page };
}

async function act(page, [x, y], says, typing) {
  const stage = await page.locator("#stage").boundingBox();
  await page.mouse.move(stage.x + stage.width * x, stage.y + stage.height * y);
  if (says || typing) await page.locator("#words").pressSequentially(says ?? "hm");
  if (says) await page.locator("#words").press("Enter");
}

const shots = [
  ["demo.png", { colorScheme: "light" }],
  ["demo-dark.png", { colorScheme: "dark" }],
  ["demo-phone.png", { viewport: { width: 390, height: 844 }, colorScheme: "light" }],
];
for (const [file, options] of shots) {
  const { context, page } = await openAs("Jane", 265, options);
  await waitForPeople(page, 4);
  await page.locator(".cursor").nth(2).waitFor();
  await page.screenshot({ path: `${out}/${file}` });
  await context.close();
}
await browser.close();
await server.kill();
