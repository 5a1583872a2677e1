import * as z from 'zod'

const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):\d{1,5}$/

const PORT = z.int().min(1).max(65_535)

/** Where the node takes connections for a unit, by the name of the port of the unit that they go to; `host:port` each. */
export const listenSchema = z.record(
  z.string(),
  z.union([
    PORT.transform((port) => `127.0.0.1:${port}`),
    z
      .string()
      .regex(HOST_PORT, { error: 'must be a port, or HOST:PORT, such as 0.0.0.0:5432', abort: true })
      .refine((value) => Number(/\d+$/.exec(value)?.[0]) <= 65_535, 'the port must be at most 65535'),
  ]),
)
