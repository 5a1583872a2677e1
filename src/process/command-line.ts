/**
 * Splits a command line into words as a POSIX shell would (quotes and backslashes), with no other meaning:
 * no variables, no globs, no operators. (POSIX.1-2017, Shell Command Language 2.2.)
 *
 * An unclosed quote runs to the end of the text.
 */
export function splitCommand(line: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote: '"' | "'" | undefined
  for (let index = 0; index < line.length; index += 1) {
    const char = line[index] as string
    if (char === '\\' && quote !== "'") {
      const next = line[index + 1]
      const literal = quote === '"' && next !== '"' && next !== '\\' ? `\\${next ?? ''}` : (next ?? '\\')
      word = (word ?? '') + literal
      index += 1
    } else if (quote !== undefined) {
      if (char === quote) quote = undefined
      else word = (word ?? '') + char
    } else if (char === '"' || char === "'") {
      quote = char
      word ??= ''
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word = (word ?? '') + char
    }
  }
  if (word !== undefined) words.push(word)
  return words
}
