import type { Command } from 'commander'
import { get, list, show, type InspectOptions } from './inspect'
import { load, type LoadOptions } from './load'

/** Adds `millrace facts ...`. */
export function addFacts(program: Command, exit: (code: number) => void): void {
  const facts = program.command('facts').description('load facts from files, look at what is there')
  const where = (command: Command): Command =>
    command
      .option('-r, --repository <folder>', 'repository whose facts they are; else MILLRACE_REPOSITORY, else the demo')
      .option('-f, --facts <location>', "a folder or redis://...; else MILLRACE_FACTS, else the repository's facts/")
      .option('--json', 'print JSON')

  where(facts.command('load'))
    .description('load a CSV, NDJSON or Parquet file into a table; nothing is written unless every row is good')
    .argument('<table>', 'its name')
    .argument('<file>', '.csv, .tsv, .ndjson, .jsonl (each also with .gz) or .parquet')
    .option('-k, --key <column>', 'column of the keys; else id, else key')
    .option('--types <file>', 'JSON: { "key": "u64", "fields": { "budget": "f32", "tags": "f32[8]" } }')
    .option('--format <name>', 'csv, ndjson or parquet, where the name of the file does not tell')
    .option('--replace', 'these rows become the table, at once, when all are there; else they are added to it')
    .option('--dry-run', 'check every row, write nothing')
    .option('--max-bad <rows>', 'rows that may be wrong; they are left out', '0')
    .option('--bad-rows <file>', 'write the wrong rows there as JSON lines: row, column, value, why')
    .action(async (table: string, file: string, options: LoadOptions) => exit(await load(table, file, options)))
  where(facts.command('list'))
    .description('tables with their keys, rows and fields')
    .action(async (options: InspectOptions) => exit(await list(options)))
  where(facts.command('show'))
    .description('rows of a table as JSON lines, which load takes back with --key key')
    .argument('<table>', 'its name')
    .option('-n, --limit <rows>', 'so many; 0 for all', '10')
    .action(async (table: string, options: InspectOptions) => exit(await show(table, options)))
  where(facts.command('get'))
    .description('the row of one key')
    .argument('<table>', 'its name')
    .argument('<key>', 'of the row')
    .action(async (table: string, key: string, options: InspectOptions) => exit(await get(table, key, options)))
}
