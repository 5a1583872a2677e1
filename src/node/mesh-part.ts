import { messageOf } from '../base/error.ts'
import type { Service } from '../base/lifecycle.ts'
import type { Log } from '../base/log.ts'
import { createTopic, type Topic } from '../base/topic.ts'
import type { Mesh } from '../mesh/index.ts'

/** The mesh as a part of the node: joined in the background, so that a slow or broken network delays nothing local. */
export interface MeshPart extends Service {
  /** Undefined until the mesh's own machinery runs, and for a node without a mesh. */
  current(): Mesh | undefined
  /** Told once, when the mesh is there and before it starts. */
  readonly opened: Topic<Mesh>
  /** Resolves when joining is over, well or not. */
  joined(): Promise<void>
}

export interface MeshPartSeams {
  readonly log: Log
  /** Loads and builds the mesh, the expensive part; undefined = this host is alone. */
  readonly open: (() => Promise<Mesh>) | undefined
}

export function createMeshPart({ log, open }: MeshPartSeams): MeshPart {
  const opened = createTopic<Mesh>()
  let mesh: Mesh | undefined
  let joining: Promise<void> = Promise.resolve()

  async function join(openMesh: () => Promise<Mesh>): Promise<void> {
    try {
      mesh = await openMesh()
      opened.publish(mesh)
      await mesh.start()
    } catch (error) {
      log.error('cannot take part in the mesh; this host works alone', { cause: messageOf(error) })
    }
  }

  return {
    name: 'mesh',
    current: () => mesh,
    opened,
    joined: () => joining,
    async start() {
      if (open !== undefined) joining = join(open)
    },
    async stop() {
      await joining
      await mesh?.stop()
    },
  }
}
