// Types of electra.js. What the engine reports keeps the field's words (snake_case), as the command line prints it.

export type DeviceKind = 'webgpu' | 'cpu'
export type DeviceWish = 'auto' | DeviceKind

/** The address of a folder or .zip, a zip, the files of a folder, or a Hugging Face repository ('owner/name', 'owner/name@revision'). */
export type ModelSource = string | URL | Blob | FileList | File[] | { repo: string; revision?: string }

export type Task = 'classification' | 'multi-label' | 'regression' | 'tagging' | 'question-answering'

/** A cell of a row; lists for words and their labels, for several labels of a text, and for answers. */
export type Cell = string | number | boolean | null | readonly (string | number | boolean | { text: string; answer_start?: number })[]

/**
 * Labelled data: rows, a file (CSV, TSV, JSONL, CoNLL columns, SQuAD JSON), its address, or its bytes. Rows are { text, label },
 * with `text_pair` for pairs; { text, labels: [..] }; { text, score }; { words, labels }; or { question, context, answers }.
 */
export type Table = Record<string, Cell>[] | Blob | string | URL | { name?: string; bytes: Uint8Array }

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
  /** Where worker.js is, if not beside electra.js. It may be on another site that allows being read (CORS). */
  workerUrl?: string | URL
  /** Where electra_wasm_bg.wasm or electra_wasm_relaxed_bg.wasm is, if not in wasm/ beside electra.js. */
  wasmUrl?: string | URL
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
  /** Of the run, else of the loaded model; null where it was not fine-tuned. */
  task: Task | null
  labels: string[] | null
  /** Of a regression: the range of the scores it was trained on. */
  score_range: [number, number] | null
  /** `detect` works: a discriminator. */
  can_detect: boolean
  /** `fill` works: a generator. */
  can_fill: boolean
  /** `predict` and `evaluate` work: it was fine-tuned. */
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
  /** The labels, or the scores of a regression. */
  labelColumn?: string
  /** Of a multi-label table that has a column of 0 and 1 for each label. */
  labelColumns?: string[]
  /** The tags of words: a column or JSON field by its name, or its number from 1 where columns have no names. */
  tagColumn?: string
  /** The sheet of a spreadsheet; the first that has rows where it is not named. */
  sheet?: string
}

export interface SkippedRow {
  row: number
  reason: string
}

export interface LabelCount {
  label: string
  count: number
}

export interface Bin {
  from: number
  to: number
  count: number
}

export type Effort = 'quick' | 'normal' | 'thorough'

export interface Inspection {
  /** As asked, or as found in the file. */
  task: Task
  /** What the file could also be read as. */
  tasks: Task[]
  /** Why it is taken to be for that task; null where the task was asked for. */
  reason: string | null
  /** Which columns were taken, where there was a choice that nobody made. */
  notes: string[]
  format: 'csv' | 'tsv' | 'jsonl' | 'conll' | 'squad' | 'spreadsheet'
  /** Those of a spreadsheet that have rows, and the one that was read. */
  sheets: string[]
  sheet: string | null
  /** Between the cells of a table that is no JSON. */
  delimiter: string | null
  has_header: boolean
  /** Of a table; of the others, those of `preview`. */
  columns: string[]
  /** Rows, sentences or questions. */
  rows: number
  /** Null where there are no columns to choose: tagging, question answering. */
  chosen: { text: string; pair: string | null; label: string | null } | null
  /** Of tagging, counted by words; empty where the task has none. */
  labels: LabelCount[]
  /** Of a regression: the lowest and the highest score. */
  range: [number, number] | null
  scores: { bins: Bin[]; mean: number } | null
  /** In tokens, of the `measured` rows: all, or some of many; `truncated` counts what is cut or, for tagging and question answering, read in several windows. */
  lengths: { measured: number; bins: Bin[]; mean: number; max: number; truncated: number }
  /** Settings that fit the data and the model, by how much time a run may take. */
  settings: Record<Effort, { epochs: number; batchSize: number; learningRate: number }>
  skipped: SkippedRow[]
  skipped_count: number
  /** At most five rows, a cell a column. */
  preview: (string | null)[][]
}

export interface TrainPlan {
  task: Task
  train_rows: number
  eval_rows: number
  /** What the training rows come to once long ones are cut into windows. */
  train_windows: number
  labels: LabelCount[]
  steps: number
  steps_per_epoch: number
  epochs: number
  batch_size: number
  learning_rate: number
  max_seq_length: number
  eval_source: 'file' | 'held-out'
  /** What an answer that needs no network would score, and which one that is. */
  baseline: { metric: string; score: number; answer: string } | null
  /** Rows to measure on that are among those to learn from, too. */
  duplicates: number
  /** The share of `[UNK]` among the tokens of the training rows, special ones aside. */
  unknown_tokens: number
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

export interface ClassificationReport {
  /** Rows; of tagging, words. */
  examples: number
  accuracy: number
  macro_f1: number
  mcc: number
  per_class: ClassScores[]
  labels: string[]
  /** [true][predicted] */
  confusion_matrix: number[][]
}

export interface ClassificationEvaluation extends ClassificationReport {
  loss: number
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

export interface MultiLabelEvaluation {
  examples: number
  loss: number
  /** Over all decisions of all labels. */
  micro: ClassScores
  macro_f1: number
  /** Share of the rows with every label right. */
  subset_accuracy: number
  per_label: ClassScores[]
  worst: { row: number; text: string; text_pair: string | null; labels: string[]; predicted: string[]; loss: number }[]
}

export interface RegressionEvaluation {
  examples: number
  /** Mean squared error of the scaled scores. */
  loss: number
  /** Null where it is not defined, as where all scores are equal. */
  pearson: number | null
  spearman: number | null
  /** In the unit of the scores. */
  mse: number
  mae: number
  /** True score and prediction of every row. */
  points: [number, number][]
  worst: { row: number; text: string; text_pair: string | null; score: number; predicted: number }[]
}

export interface TaggingEvaluation {
  loss: number
  sentences: number
  /** Word by word. */
  tags: ClassificationReport
  /** Null where the labels are plain tags, such as parts of speech. */
  entities: { micro: ClassScores; macro_f1: number; per_type: ClassScores[] } | null
  worst: { row: number; words: string[]; labels: string[]; predicted: string[]; loss: number }[]
}

/** In percent, as the official scripts print them. */
export interface SquadScores {
  exact: number
  f1: number
  total: number
}

interface AnsweredEvaluation {
  /** Above it, `no_answer_score` means "no answer"; null where every question has one. */
  no_answer_threshold: number | null
  worst: { row: number; id: string; question: string; context: string; golds: string[]; predicted: string; f1: number }[]
}

/** Of SQuAD 1.1; where some questions have no answer, of SQuAD 2.0. */
export type QuestionAnsweringEvaluation =
  | (AnsweredEvaluation & SquadScores)
  | (AnsweredEvaluation & {
    all: SquadScores
    has_ans: SquadScores | null
    no_ans: SquadScores | null
    best_exact: number
    best_exact_thresh: number
    best_f1: number
    best_f1_thresh: number
    pr_exact_ap: number | null
    pr_f1_ap: number | null
    pr_oracle_ap: number | null
  })

export interface Evaluations {
  'classification': ClassificationEvaluation
  'multi-label': MultiLabelEvaluation
  'regression': RegressionEvaluation
  'tagging': TaggingEvaluation
  'question-answering': QuestionAnsweringEvaluation
}

export interface Score {
  metric: 'accuracy' | 'micro_f1' | 'pearson' | 'f1'
  /** The metric's value: the one number that runs are compared by. Higher is better; 1 is perfect; 0 where it is not defined. */
  score: number
  /** Was every example given the same label, though they have several? */
  is_collapsed: boolean
  /** Every metric of the task as a share, null where it is not defined. */
  metrics: Record<string, number | null>
}

/** How a model does; `task` tells which numbers there are. The command line prints the same. */
export type Measured = { [T in Task]: Evaluations[T] & Score & { task: T } }[Task]

/** What `evaluate` gives; `skipped` counts the rows that could not be used. */
export type Evaluation = Measured & { skipped: number }

/** An evaluation during training. */
export type EvaluationAt = Measured & { step: number; epoch: number; /** Out of turn, because the run was stopped. */ extra?: true }

export interface FinetuneOptions extends ColumnOptions {
  /** What the file looks like, where it is clear. */
  task?: Task
  /** Needed unless `resume` is true. */
  train?: Table
  /** The sheet of `eval`, as `sheet` is that of `train`. */
  evalSheet?: string
  /** Held-out rows; without them a share of `train` is held out (`evalFraction`). */
  eval?: Table
  /** Epochs, batchSize and learningRate fit the data and the model where they are not given: for so much time. */
  effort?: Effort
  epochs?: number
  batchSize?: number
  /** Batches of one step: its loss is the mean over all of their examples, or labelled tokens. */
  accumulate?: number
  learningRate?: number
  maxSeqLength?: number
  /** Of a long context: from the start of one window to the next, in tokens. */
  docStride?: number
  /** Tokens of a question; the rest of it is cut off. */
  maxQueryLength?: number
  /** Of question answering: transformers' head, or that of google-research/electra, which transformers has no class for. */
  qaHead?: 'huggingface' | 'original'
  /** Learns from every pair a second time, its texts exchanged. */
  doublePairs?: boolean
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
  /** Evaluations of the whole run, evenly spread, where `evalEvery` is not given. */
  evalTimes?: number
  /** Keeps the weights of the best evaluation instead of the last; of equal scores that with the smallest loss. */
  keepBest?: boolean
  /** What evaluations are compared by; the usual one of the task where absent. */
  metric?: 'accuracy' | 'f1' | 'micro_f1' | 'macro_f1' | 'mcc' | 'pearson' | 'spearman' | 'exact'
  /** Ends after so many evaluations in a row without a better score. */
  patience?: number
  /** Steps between two readings of the loss. */
  readEvery?: number
  /** Goes on with the run that was stopped, or with the saved one that `Electra.resume` loaded. */
  resume?: boolean
  /**
   * Saves the run in this browser every so many steps, and when it pauses or stops; 'auto' chooses by the clock. There is
   * one saved run a site: the first checkpoint of another run replaces it, and the end of the run removes it.
   */
  checkpointEvery?: number | 'auto'
  /** What `Electra.savedRun` calls the run; the name of the file otherwise. */
  title?: string
  /** Kept with the saved run: anything that JSON can hold. */
  about?: unknown
  /** Stops the run within one step; the promise then resolves with `stopped: true`. */
  signal?: AbortSignal
  onPlan?: (plan: TrainPlan) => void
  onStep?: (step: Step) => void
  /** The first comes before training, the last at the end. */
  onEvaluation?: (evaluation: EvaluationAt) => void
  onEvaluating?: (progress: { done: number; total: number }) => void
  onCheckpoint?: (checkpoint: { step: number; bytes: number }) => void
  /** The run cannot be saved, and why; called at most once a cause. Training goes on. */
  onUnsaved?: (error: ElectraError) => void
}

/** What a run has told so far, also before it was stopped and resumed. */
export interface RunHistory {
  plan: TrainPlan
  losses: Loss[]
  evaluations: EvaluationAt[]
  steps: number
  /** Time at work, without pauses. */
  seconds: number
}

export interface FinetuneResult extends RunHistory {
  stopped: boolean
}

/** The run that is saved in this browser. */
export interface SavedRun {
  title: string
  about: unknown
  task: Task
  /** Steps done when it was saved. */
  step: number
  steps: number
  /** When it was saved, in ISO 8601. */
  time: string
  device: { kind: DeviceKind; name: string }
  wish: DeviceWish
  /** It is going on now, here or in another tab. */
  active: boolean
}

/** A text or a pair of texts; words for a tagger, which cuts a plain text at white space; a question about a text. */
export type Input = string | { text: string; text_pair?: string } | { words: string[] } | { question: string; context: string }

export interface ClassificationPrediction {
  label: string
  score: number
  scores: Record<string, number>
  logits?: number[]
}

export interface MultiLabelPrediction {
  /** Those that are likelier than not. */
  labels: string[]
  scores: Record<string, number>
}

export interface RegressionPrediction {
  value: number
}

export interface TaggingPrediction {
  words: string[]
  labels: string[]
  /** Probability of each label. */
  scores: number[]
}

export interface AnswerCandidate {
  text: string
  /** Where it stands in the context, in code points. */
  start: number
  end: number
  score: number
  /** Among the candidates. */
  probability: number
}

export interface QuestionAnsweringPrediction {
  id: string
  /** May be empty where the model was trained on questions without an answer. */
  answer: string
  start: number
  end: number
  /** Probability among the candidates. */
  score: number
  no_answer_score: number
  n_best: AnswerCandidate[]
}

/** Which one depends on the model's task, `info.task`. */
export type Prediction = ClassificationPrediction | MultiLabelPrediction | RegressionPrediction | TaggingPrediction | QuestionAnsweringPrediction

export interface PredictOptions {
  /** With the raw outputs, where the task has them. */
  logits?: boolean
  /** At most so many scores or candidates an input. */
  topK?: number
}

export interface Detection {
  tokens: string[]
  /** Where each token stands in the text, in code points; [0, 0] for special tokens. */
  offsets: [number, number][]
  /** Probability that each token replaced the original. */
  replaced: number[]
}

export interface Filling {
  tokens: string[]
  /** The candidates of each [MASK], the likeliest first. */
  predictions: { token: string; id: number; score: number }[][]
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
  /** The run as it stood when it last stopped or, after `Electra.resume`, when it was saved; null where there was none. */
  readonly run: (RunHistory & { title: string; about: unknown }) | null
  inspect(data: Table, options?: ColumnOptions & { task?: Task; maxSeqLength?: number; signal?: AbortSignal; onReading?: (progress: { loaded: number; total: number }) => void }): Promise<Inspection>
  /** How long training on this data takes here, in milliseconds: an update, and a row of an evaluation. */
  time(data: Table, options?: Omit<FinetuneOptions, 'train' | 'eval'>): Promise<{ update: number; evaluation: number }>
  finetune(options: FinetuneOptions): Promise<FinetuneResult>
  /** False where no run was going on. */
  pause(): Promise<boolean>
  resume(): Promise<boolean>
  evaluate(data: Table, options?: ColumnOptions & { batchSize?: number; maxSeqLength?: number; docStride?: number; maxQueryLength?: number }): Promise<Evaluation>
  predict<P extends Prediction = Prediction>(inputs: Input[], options?: PredictOptions): Promise<P[]>
  predict<P extends Prediction = Prediction>(input: Input, options?: PredictOptions): Promise<P>
  detect(texts: string[]): Promise<Detection[]>
  detect(text: string): Promise<Detection>
  /** Each text holds one [MASK] or more. */
  fill(texts: string[], options?: { topK?: number }): Promise<Filling[]>
  fill(text: string, options?: { topK?: number }): Promise<Filling>
  /** `readme`: a text to put into the zip. */
  export(options?: { readme?: string }): Promise<Blob>
  exportFiles(): Promise<Record<string, Uint8Array>>
  dispose(): void
}

export const Electra: {
  load(source: ModelSource, options?: LoadOptions): Promise<Model>
  devices(options?: { workerUrl?: string | URL }): Promise<Machine>
  /** Null where no run is saved. Rejects where the saved run is damaged or of another version. */
  savedRun(): Promise<SavedRun | null>
  /** On the device the run was started on, unless another is named. */
  resume(options?: LoadOptions): Promise<Model>
  forgetRun(): Promise<void>
}

// ---- transformers.js's way to ask

export type PipelineTask = 'text-classification' | 'token-classification' | 'question-answering' | 'fill-mask'

export type PipelineProgress =
  | { status: 'progress_total'; name: string; progress: number; loaded: number; total: number }
  | { status: 'ready'; task: PipelineTask; model: string }

export interface PipelineOptions extends Omit<LoadOptions, 'device' | 'onProgress'> {
  /** 'wasm' is the CPU, 'gpu' is WebGPU. */
  device?: DeviceWish | 'wasm' | 'gpu' | null
  progress_callback?: (progress: PipelineProgress) => void
}

/** Of a regression, `score` is the value. */
export interface LabelScore {
  label: string
  score: number
}

/** One word of a text; `start` and `end` are places in the string. */
export interface TaggedWord {
  entity: string
  score: number
  /** Counts the words from 1. */
  index: number
  word: string
  start: number
  end: number
}

export interface TaggedGroup {
  entity_group: string
  score: number
  word: string
  start: number
  end: number
}

export interface Answer {
  answer: string
  score: number
  start: number
  end: number
}

export interface FilledMask {
  sequence: string
  score: number
  /** Its id. */
  token: number
  token_str: string
}

interface Pipe<T extends PipelineTask> {
  readonly task: T
  /** The same model with all that transformers.js has not, `finetune` first of all. */
  readonly model: Model
  dispose(): Promise<void>
}

export interface TextClassificationPipeline extends Pipe<'text-classification'> {
  (text: TextInput, options?: { top_k?: number | null }): Promise<LabelScore[]>
  (texts: TextInput[], options?: { top_k?: 1 }): Promise<LabelScore[]>
  /** Null: all labels. */
  (texts: TextInput[], options: { top_k: number | null }): Promise<LabelScore[][]>
}

export type TextInput = string | { text: string; text_pair?: string }

export interface TokenClassificationPipeline extends Pipe<'token-classification'> {
  (text: string, options?: { ignore_labels?: string[]; aggregation_strategy?: 'none' }): Promise<TaggedWord[]>
  (texts: string[], options?: { ignore_labels?: string[]; aggregation_strategy?: 'none' }): Promise<TaggedWord[][]>
  (text: string, options: { ignore_labels?: string[]; aggregation_strategy: 'simple' }): Promise<TaggedGroup[]>
  (texts: string[], options: { ignore_labels?: string[]; aggregation_strategy: 'simple' }): Promise<TaggedGroup[][]>
}

export interface QuestionAnsweringPipeline extends Pipe<'question-answering'> {
  (question: string, context: string, options?: { top_k?: 1 }): Promise<Answer>
  (question: string, context: string, options: { top_k: number }): Promise<Answer[]>
  (questions: string[], contexts: string[], options?: { top_k?: 1 }): Promise<Answer[]>
  (questions: string[], contexts: string[], options: { top_k: number }): Promise<Answer[][]>
}

/** Each text holds one [MASK]. */
export interface FillMaskPipeline extends Pipe<'fill-mask'> {
  (text: string, options?: { top_k?: number }): Promise<FilledMask[]>
  (texts: string[], options?: { top_k?: number }): Promise<FilledMask[][]>
}

export interface Pipelines {
  'text-classification': TextClassificationPipeline
  'token-classification': TokenClassificationPipeline
  'question-answering': QuestionAnsweringPipeline
  'fill-mask': FillMaskPipeline
}

/** A model behind one function. `model`: as of `Electra.load`, or a `Model` that is there already. */
export function pipeline<T extends PipelineTask>(task: T, model: ModelSource | Model, options?: PipelineOptions): Promise<Pipelines[T]>
