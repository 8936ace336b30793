// Types of electra.js. What the engine reports keeps the field's words (snake_case), as the command line prints it.

export type DeviceKind = 'webgpu' | 'cpu'
export type DeviceWish = 'auto' | DeviceKind

/** The address of a folder or .zip, a zip, the files of a folder, or a Hugging Face repository ('owner/name', 'owner/name@revision'). */
export type ModelSource = string | URL | Blob | FileList | File[] | { repo: string; revision?: string }

/** Labelled rows, a CSV/TSV/JSONL file, its address, or its bytes. */
export type Table = Record<string, string | number | boolean | null>[] | Blob | string | URL | { name?: string; bytes: Uint8Array }

export interface LoadProgress {
  stage: 'download' | 'self-test' | 'start' | 'model'
  /** While downloading: all bytes so far, and all there are (null where a server does not say). */
  loaded?: number
  total?: number | null
  file?: string
}

export interface LoadOptions {
  device?: DeviceWish
  onProgress?: (progress: LoadProgress) => void
  /** Gives up loading; the promise rejects with the signal's reason. */
  signal?: AbortSignal
}

export interface Device {
  kind: DeviceKind
  name: string
  /** Why this device, in plain words. */
  reason: string
  /** A GPU imitated in software. */
  software: boolean
  limits: Record<string, number>
  features: string[]
  wish: DeviceWish
  /** How far a training step on the GPU was from the same step on the CPU; null on the CPU. */
  self_test: { loss_error: number; weight_error: number } | null
}

export interface DeviceOffer extends Omit<Device, 'wish' | 'self_test'> {
  usable: boolean
  remedy: string
}

export interface Machine {
  webgpu: DeviceOffer
  cpu: DeviceOffer
  auto: DeviceKind
  reason: string
}

export interface ModelInfo {
  architecture: string
  parameters: number
  config: Record<string, unknown>
  labels: string[] | null
  can_detect: boolean
  can_predict: boolean
  /** The weights are random: nothing was learnt yet. */
  untrained: boolean
  max_seq_length: number
  notes: string[]
  device: Device
}

/** Columns that are not named are found by name and content; a named text column without a pair column means that there is no pair. */
export interface ColumnOptions {
  textColumn?: string
  pairColumn?: string
  labelColumn?: string
}

export interface SkippedRow {
  row: number
  reason: string
}

export interface LabelCount {
  label: string
  count: number
}

export interface Inspection {
  format: 'csv' | 'tsv' | 'jsonl'
  has_header: boolean
  columns: string[]
  rows: number
  chosen: { text: string; pair: string | null; label: string | null }
  labels: LabelCount[]
  lengths: { bins: { from: number; to: number; count: number }[]; mean: number; max: number; truncated: number }
  skipped: SkippedRow[]
  skipped_count: number
  preview: (string | null)[][]
}

export interface TrainPlan {
  train_rows: number
  eval_rows: number
  labels: LabelCount[]
  steps: number
  steps_per_epoch: number
  epochs: number
  batch_size: number
  learning_rate: number
  max_seq_length: number
  eval_source: 'file' | 'held-out'
  majority_accuracy: number
  skipped: SkippedRow[]
  skipped_count: number
  /** Such as that the classifier starts fresh. */
  notes: string[]
}

export interface Loss {
  step: number
  loss: number
  grad_norm: number
}

export interface Step {
  /** Steps done, from 1. */
  step: number
  steps: number
  /** Epochs done, with a fraction. */
  epoch: number
  learning_rate: number
  examples: number
  /** Real tokens of this step, without padding. */
  tokens: number
  /** Empty unless this step read losses back from the device. */
  losses: Loss[]
  milliseconds: number
}

export interface ClassScores {
  label: string
  precision: number
  recall: number
  f1: number
  support: number
}

export interface Evaluation {
  examples: number
  loss: number
  accuracy: number
  macro_f1: number
  mcc: number
  per_class: ClassScores[]
  labels: string[]
  /** [true][predicted] */
  confusion_matrix: number[][]
  worst: {
    row: number
    text: string
    text_pair: string | null
    label: string
    predicted: string
    /** Probability of the true label. */
    score: number
    loss: number
  }[]
}

export interface EvaluationAt {
  step: number
  epoch: number
  evaluation: Evaluation
}

export interface FinetuneOptions extends ColumnOptions {
  task?: 'classification'
  /** Needed unless `resume` is true. */
  train?: Table
  /** Held-out rows; without them a share of `train` is held out (`evalFraction`). */
  eval?: Table
  epochs?: number
  batchSize?: number
  /** Batches of one step. */
  accumulate?: number
  learningRate?: number
  maxSeqLength?: number
  seed?: number
  /** Share of the steps over which the learning rate rises. */
  warmup?: number
  schedule?: 'sequential' | 'multiplied'
  weightDecay?: number
  layerwiseDecay?: number
  layerwiseGap?: boolean
  /** False is ELECTRA's own Adam. */
  biasCorrection?: boolean
  /** Overrides both of the model's dropouts. */
  dropout?: number
  /** What keeps its weights; a number freezes that many lowest layers and the embeddings. */
  freeze?: 'none' | 'embeddings' | 'body' | number
  evalFraction?: number
  /** Steps between two evaluations; once an epoch by default. */
  evalEvery?: number
  /** Steps between two readings of the loss. */
  readEvery?: number
  /** Goes on with the run that was stopped. */
  resume?: boolean
  /** Stops the run within one step; the promise then resolves with `stopped: true`. */
  signal?: AbortSignal
  onPlan?: (plan: TrainPlan) => void
  onStep?: (step: Step) => void
  /** The first comes before training, the last at the end. */
  onEvaluation?: (evaluation: EvaluationAt) => void
  onEvaluating?: (progress: { done: number; total: number }) => void
}

/** Of the whole run, also when it was stopped and resumed. */
export interface FinetuneResult {
  plan: TrainPlan
  losses: Loss[]
  evaluations: EvaluationAt[]
  steps: number
  stopped: boolean
  /** Time at work, without pauses. */
  seconds: number
}

export type Input = string | { text: string; text_pair?: string }

export interface Prediction {
  label: string
  score: number
  scores: Record<string, number>
  logits?: number[]
}

export interface Detection {
  tokens: string[]
  /** Where each token stands in the text, in code points; [0, 0] for special tokens. */
  offsets: [number, number][]
  /** Probability that each token replaced the original. */
  replaced: number[]
}

export class ElectraError extends Error {
  /** What to do about it; may be empty. */
  readonly remedy: string
  readonly code: string | null
  /** The engine is gone: load the model again. */
  readonly fatal: boolean
}

export class Model {
  private constructor()
  readonly info: ModelInfo
  inspect(data: Table, options?: ColumnOptions & { maxSeqLength?: number }): Promise<Inspection>
  finetune(options: FinetuneOptions): Promise<FinetuneResult>
  /** False where no run was going on. */
  pause(): Promise<boolean>
  resume(): Promise<boolean>
  evaluate(data: Table, options?: ColumnOptions & { batchSize?: number; maxSeqLength?: number }): Promise<Evaluation>
  predict(inputs: Input[], options?: { logits?: boolean }): Promise<Prediction[]>
  predict(input: Input, options?: { logits?: boolean }): Promise<Prediction>
  detect(texts: string[]): Promise<Detection[]>
  detect(text: string): Promise<Detection>
  export(): Promise<Blob>
  exportFiles(): Promise<Record<string, Uint8Array>>
  dispose(): void
}

export const Electra: {
  load(source: ModelSource, options?: LoadOptions): Promise<Model>
  devices(): Promise<Machine>
}
