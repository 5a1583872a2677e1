import { arch, platform } from 'node:process'
import type { Command } from '../command.ts'
import { VERSION } from '../../base/version.ts'

export const versionCommand: Command = {
  name: 'version',
  summary: 'show the version of this program and of what it runs on',
  args: [],
  options: [],
  json: '{version, node, platform, arch}',

  async run(_input, { output }) {
    const value = { version: VERSION, node: process.versions.node, platform, arch }
    await output.print(value, ({ version, node }) => `hsu ${version} (Node.js ${node}, ${platform} ${arch})`)
    return undefined
  },
}
