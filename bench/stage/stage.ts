export function benchStage(_: unknown): unknown { return null }
export function stageTable(_: unknown): string { return '' }
