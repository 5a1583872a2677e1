import { createFileRegistry, createRegistry, type DescFile, type FileRegistry, fromBinary } from '@bufbuild/protobuf'
import * as wellKnown from '@bufbuild/protobuf/wkt'
import { type FileDescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { HsuError, messageOf } from '../base/error.ts'
import type { ReflectionClient } from './reflection-client.ts'
import { repairFiles } from './repair-files.ts'

/** Where descriptors of services come from. */
export interface DescriptorSource {
  /** Full names of the services it knows. */
  services(): Promise<readonly string[]>
  /** All that a service needs to be called; undefined when it is not known. */
  find(service: string): Promise<FileRegistry | undefined>
}

/** More files than any API has; a server that names ever new imports is stopped here. */
const MAX_FILES = 1_000

/** Descriptors that a server gives by reflection. */
export function reflectedDescriptors(reflection: ReflectionClient): DescriptorSource {
  return {
    services: () => reflection.services(),
    async find(service) {
      const first = await reflection.filesOfSymbol(service)
      return first === undefined ? undefined : link(await withImports(first, reflection))
    },
  }
}

/**
 * Descriptors in a file made by `buf build -o FILE` or `protoc --include_imports --descriptor_set_out=FILE`.
 * @throws HsuError `USAGE` when `bytes` are none.
 */
export function descriptorsFrom(bytes: Uint8Array): DescriptorSource {
  const registry = link(parseSet(bytes))
  const services = [...registry].flatMap((type) => (type.kind === 'service' ? [type.typeName] : []))
  return {
    services: async () => services,
    find: async (service) => (registry.getService(service) === undefined ? undefined : registry),
  }
}

function parseSet(bytes: Uint8Array): readonly FileDescriptorProto[] {
  try {
    return fromBinary(FileDescriptorSetSchema, bytes).file
  } catch (cause) {
    throw new HsuError('USAGE', `not a FileDescriptorSet: ${messageOf(cause)}`, { cause })
  }
}

async function withImports(
  first: readonly FileDescriptorProto[],
  reflection: ReflectionClient,
): Promise<readonly FileDescriptorProto[]> {
  const files = new Map(first.map((file) => [file.name, file]))
  const wanted = first.flatMap(({ dependency }) => dependency)
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    if (files.has(name)) continue
    if (files.size >= MAX_FILES) {
      throw new HsuError('LIMIT_EXCEEDED', `the service imports more than ${MAX_FILES} files`, {
        details: { maxFiles: MAX_FILES },
      })
    }
    for (const file of (await reflection.filesByName(name)) ?? []) {
      if (!files.has(file.name)) wanted.push(...file.dependency)
      files.set(file.name, file)
    }
  }
  return [...files.values()]
}

/** Many servers leave out the files that come with protobuf itself. */
const WELL_KNOWN: ReadonlyMap<string, DescFile> = new Map(
  Object.values(wellKnown).flatMap((value) => (isFile(value) ? [[value.proto.name, value] as const] : [])),
)

const WELL_KNOWN_TYPES = createRegistry(...WELL_KNOWN.values())

function wellKnownFileOf(typeName: string): string | undefined {
  const type = WELL_KNOWN_TYPES.get(typeName)
  return type?.kind === 'message' || type?.kind === 'enum' ? type.file.proto.name : undefined
}

function isFile(value: unknown): value is DescFile {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'file'
}

/** The files are in any order, so that each is linked with what it imports as this is asked for. */
function link(files: readonly FileDescriptorProto[]): FileRegistry {
  const byName = new Map(files.map((file) => [file.name, file]))
  repairFiles(files, wellKnownFileOf)
  try {
    const parts = files.map((file) => createFileRegistry(file, (name) => byName.get(name) ?? WELL_KNOWN.get(name)))
    return createFileRegistry(...parts)
  } catch (cause) {
    throw new HsuError('USAGE', `the descriptors do not fit together: ${messageOf(cause)}`, { cause })
  }
}
