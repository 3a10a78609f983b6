// A browser beside a test server. Console errors, uncaught exceptions and violations of the page's policy fail the test that met them.
//
//   const browser = await Browser.start(server);
//   const page = await browser.page(operator);     // logged in through the page
//   await browser.close();                          // throws what pages complained about
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { eventually } from "../enishi.mjs";

const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Waits until a field holds that: what is read once right after an action races with the page. */
export const holds = (field, value) => eventually(`the field holds ${value}`, async () => (await field.inputValue()) === value);
/** Waits until the focus is on an element that matches. */
export const focused = (page, selector) => page.waitForFunction((s) => document.activeElement?.matches(s), selector);
/** Types into a list that is searched, and takes the one choice of that name when it is offered. */
export async function pick(page, field, name) {
  await field.click();
  await field.fill(name);
  await page.getByRole("option", { name }).first().waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
}

export class Browser {
  static async start(server) {
    const self = new Browser();
    self.server = server;
    self.complaints = [];
    self.chromium = await chromium.launch({ executablePath, args });
    return self;
  }
  async close() {
    await this.chromium.close();
    this.check();
  }
  /** After each test: its pages are closed before they can complain in the next one. `kept` are pages that stay open over tests. */
  async settle(...kept) {
    const stay = new Set(kept.map((page) => page?.context()));
    await Promise.all(this.chromium.contexts().filter((context) => !stay.has(context)).map((context) => context.close()));
    this.check();
  }
  /** `expected`: texts of console errors that a test provokes, such as a 412. */
  check(expected = []) {
    const rest = this.complaints.splice(0).filter((c) => !expected.some((e) => c.includes(e)));
    if (rest.length > 0) throw new Error(`the page complained:\n${rest.join("\n")}`);
  }
  async context(options = {}) {
    return this.chromium.newContext({ viewport: { width: 1280, height: 800 }, locale: "ja-JP", timezoneId: "America/New_York", ...options });
  }
  async open(context, path = "/") {
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    page.on("console", (m) => {
      // Nobody is logged in yet: asking who one is says so with a 401, which Chromium writes down.
      const unauthenticated = m.text().includes("401") && m.location().url.endsWith("/v1/session");
      if (m.type() === "error" && !unauthenticated) this.complaints.push(`${m.text()} (${m.location().url})`);
    });
    page.on("pageerror", (e) => this.complaints.push(`uncaught: ${e.message}`));
    await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`)));
    await page.goto(this.server.origin + path);
    return page;
  }
  /** In the context, or a new one: a page of somebody who logged in by the log-in page. */
  async page({ login, password }, path = "/", context = undefined) {
    const page = await this.open(context ?? (await this.context()), "/login");
    await page.locator("input[name=login]").fill(login);
    await page.locator("input[name=password]").fill(password);
    await page.keyboard.press("Enter");
    await page.waitForSelector("header.header");
    if (path !== "/") await page.goto(this.server.origin + path);
    return page;
  }
}
