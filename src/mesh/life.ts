/** How far this node's end of the mesh has come: idle, then running, leaving when it takes leave, stopped. */
export interface Life {
  phase: 'idle' | 'running' | 'leaving' | 'stopped'
}

/** Whether it takes and gives messages. */
export function isUp({ phase }: Life): boolean {
  return phase === 'running' || phase === 'leaving'
}
