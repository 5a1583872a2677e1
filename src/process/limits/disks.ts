import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Devices of these names hold nothing by themselves, or nothing that lasts. */
const NO_DISK = /^(loop|ram|zram|sr|fd)\d+$/

/** The disks of this machine as `major:minor`. A limit is set for each of them, since a unit may use any. */
export async function listDisks(sysBlock = '/sys/block'): Promise<readonly string[]> {
  const names = await readdir(sysBlock).catch(() => [])
  const disks = names
    .filter((name) => !NO_DISK.test(name))
    .map(async (name) => {
      const [device, size] = await Promise.all(
        ['dev', 'size'].map((file) => readFile(join(sysBlock, name, file), 'latin1')),
      )
      return Number(size) > 0 ? [String(device).trim()] : []
    })
  return (await Promise.all(disks.map((disk) => disk.catch(() => [])))).flat()
}
