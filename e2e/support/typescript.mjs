// The page's own TypeScript, checked and compiled for Node.js.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";

const OPTIONS = {
  strict: true,
  noEmitOnError: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
  types: [],
};

/** What the compiler finds wrong in a file and all that it imports, a line each. */
export function complaints(file) {
  return told(ts.getPreEmitDiagnostics(ts.createProgram([fileURLToPath(file)], { ...OPTIONS, noEmit: true })));
}

/** Compiles a module and loads it. */
export async function load(file) {
  const source = fileURLToPath(file);
  const outDir = mkdtempSync(join(tmpdir(), "patchbay-ts-"));
  try {
    const program = ts.createProgram([source], { ...OPTIONS, outDir });
    const { diagnostics } = program.emit();
    if (diagnostics.length > 0) throw new Error(told(diagnostics).join("\n"));
    writeFileSync(join(outDir, "package.json"), '{ "type": "module" }');
    const name = source.slice(source.lastIndexOf("/") + 1).replace(/\.ts$/, ".js");
    return await import(pathToFileURL(join(outDir, name)).href);
  } finally {
    rmSync(outDir, { recursive: true, force: true });
  }
}

function told(diagnostics) {
  return diagnostics.map(({ file, start, messageText }) => {
    const place = file && start !== undefined ? `${file.fileName}:${file.getLineAndCharacterOfPosition(start).line + 1}: ` : "";
    return place + ts.flattenDiagnosticMessageText(messageText, "\n");
  });
}
