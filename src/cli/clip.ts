/** A colour or another style of ECMA-48, which takes no place on the screen. */
const STYLE = /^\u001B\[[0-9;]*m/

/** The first `width` columns of a line; styles are kept, so that one that was begun is also ended. */
export function clip(line: string, width: number): string {
  let clipped = ''
  let used = 0
  for (let rest = line; rest !== ''; ) {
    const style = STYLE.exec(rest)?.[0]
    const piece = style ?? String.fromCodePoint(rest.codePointAt(0) ?? 0)
    if (style !== undefined || used < width) clipped += piece
    if (style === undefined) used += 1
    rest = rest.slice(piece.length)
  }
  return clipped
}
