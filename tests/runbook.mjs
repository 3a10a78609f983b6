// Runs the commands that a runbook of docs/operate prints, so that text and test cannot drift apart.
//
//   const book = new Runbook("lost-disk.md", { DIR: server.data, BACKUP: folder, KEY: key });
//   book.run("restore");                       // the fenced block ```sh restore, by bash, where `enishi` is the binary under test
//   const looking = await book.serve("look");  // one that stays, until it says that it is ready
//   book.finish();                             // throws when a block of the text was never run
//
// The block `settings` is what an administrator fills in: its variables are the ones that are given here.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { binary, root, scratch } from "./enishi.mjs";

const running = new Set();
process.on("exit", () => { for (const child of running) { try { process.kill(child.pid, "SIGKILL"); } catch {} } });

export class Runbook {
  constructor(file, variables, env = {}) {
    this.file = file;
    this.blocks = new Map();
    const text = readFileSync(join(root, "docs/operate", file), "utf8");
    for (const [, indent, name, body] of text.matchAll(/^( *)```sh (\S+)\n([\s\S]*?)^ *```$/gm)) {
      if (this.blocks.has(name)) throw new Error(`${file} has two blocks ${name}`);
      this.blocks.set(name, body.split("\n").map((line) => line.slice(indent.length)).join("\n"));
    }
    const wanted = [...(this.blocks.get("settings") ?? "").matchAll(/^([A-Z_]+)=/gm)].map((m) => m[1]).sort().join(" ");
    const given = Object.keys(variables).sort().join(" ");
    if (wanted !== given) throw new Error(`${file} has its reader set ${wanted}, and the test sets ${given}`);
    this.done = new Set(["settings"]);
    // An administrator has enishi on the path, and rsync.
    const bin = join(scratch("runbook"), "bin");
    mkdirSync(bin);
    symlinkSync(binary, join(bin, "enishi"));
    if (spawnSync("rsync", ["--version"]).error)
      writeFileSync(join(bin, "rsync"), '#!/bin/bash -e\nfor last; do :; done\nfrom=${@: -2:1}\n[ "${*/--delete/}" = "$*" ] || rm -rf "${last:?}"/*\n[ "${from: -1}" != / ] || { mkdir -p "$last"; from=$from.; }\ncp -a "$from" "$last"\n', { mode: 0o755 });
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ENISHI_") && !name.startsWith("PG")));
    this.env = { ...own, ENISHI_PASSWORD_COST: "low", PATH: `${bin}:${process.env.PATH}`, ...variables, ...env };
  }
  #block(name) {
    const found = this.blocks.get(name);
    if (found === undefined) throw new Error(`${this.file} has no block ${name}; it has ${[...this.blocks.keys()].join(", ")}`);
    this.done.add(name);
    return found;
  }
  /** What a block printed. Variables that it sets are there for the next ones, as in one terminal. `status` is the exit code that the text promises. */
  run(name, { status = 0 } = {}) {
    const kept = join(scratch("runbook"), "variables");
    const done = spawnSync("bash", ["-c", `set -eo pipefail\ntrap 'declare -p | grep -v "^declare -[a-z]*r\\|BASH\\|^declare -[aA]" > ${kept}' EXIT\n${this.#block(name)}`], { encoding: "utf8", env: this.env, cwd: "/tmp" });
    if (done.status !== status) throw new Error(`${this.file}, block ${name}: ended with ${done.status}\n${done.stdout}\n${done.stderr}`);
    const all = spawnSync("bash", ["-c", `. ${kept} 2>/dev/null; for name in $(compgen -v); do case $name in BASH*|_|PWD|OLDPWD|SHLVL|PPID|EUID|UID|GROUPS|FUNCNAME|PIPESTATUS|LINENO|RANDOM|SECONDS|EPOCH*|SRANDOM|DIRSTACK|HIST*|OPT*|IFS|PS4|HOSTTYPE|MACHTYPE|OSTYPE|HOSTNAME|COMP*|LINES|COLUMNS) ;; *) printf '%s=%s\\0' "$name" "\${!name}";; esac; done`], { encoding: "utf8", env: this.env });
    for (const pair of all.stdout.split("\0")) if (pair.includes("=")) this.env[pair.slice(0, pair.indexOf("="))] = pair.slice(pair.indexOf("=") + 1);
    return done.stdout + done.stderr;
  }
  /** Starts a block that stays; its address once it says that it is ready. `listen`: a port of the test's own instead of the one in the text. */
  async serve(name, { listen = "127.0.0.1:0", env = {} } = {}) {
    const text = this.#block(name).trim();
    if (text.includes("\n")) throw new Error(`${this.file}, block ${name}: one command, please`);
    const command = text.includes("--listen") ? text.replace(/--listen \S+/, `--listen ${listen}`) : `${text} --listen ${listen}`;
    const child = spawn("bash", ["-c", `exec ${command}`], { stdio: ["ignore", "pipe", "pipe"], env: { ...this.env, ...env } });
    running.add(child);
    const log = [];
    child.stderr.on("data", (some) => { log.push(String(some)); if (log.length > 500) log.shift(); });
    const exited = new Promise((resolve) => child.on("exit", (code, signal) => { running.delete(child); resolve(code ?? signal); }));
    const origin = await new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`${command}: not ready after 120 s\n${log.slice(-20).join("")}`)), 120_000);
      createInterface({ input: child.stdout }).on("line", (line) => {
        const ready = line.match(/^(?:Enishi is ready at |Metrics: )(http:\/\/[^/\s]+)/);
        if (ready) { clearTimeout(limit); setTimeout(() => resolve(ready[1]), 50); }
      });
      exited.then((code) => { clearTimeout(limit); reject(new Error(`${command}: ended with ${code}\n${log.slice(-20).join("")}`)); });
    });
    return { origin, log, stop: async () => { child.kill("SIGTERM"); return exited; } };
  }
  finish() {
    const left = [...this.blocks.keys()].filter((name) => !this.done.has(name));
    if (left.length) throw new Error(`${this.file}: nobody has tried ${left.join(", ")}`);
  }
}
