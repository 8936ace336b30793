//! Data-parallel training: every rank computes the gradients of its own examples, and all of
//! them take the sum.
//!
//! With the feature `mpi` the ranks are those of `mpirun`, on one machine or many. Without it
//! there is one rank, and nothing here costs anything.
//!
//! A rank that fails must not leave the others waiting for it: a panic ends all of them where it
//! passes [`World`], an error at the program's edge, which calls [`leave`]. A rank that is killed
//! is the launcher's to notice. What fails inside MPI itself ends the run, MPI's own default.

use std::marker::PhantomData;
use std::ops::Range;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;

use crate::error::{Error, Result};

/// What launchers tell every rank of the number of ranks: Open MPI's mpirun; those of MPICH and
/// Intel MPI; Slurm's srun.
const LAUNCHERS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// What they tell of a rank's place among those of its machine: Open MPI; Intel MPI and MPICH; Slurm.
const LOCAL_RANKS: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];

/// Gradients that are read back from the device at once, at the least: a read-back waits for the
/// device, and what is read lies in memory a few times over.
const BUCKET: usize = 1 << 20;

/// All ranks of a run, and which one this is.
#[derive(Debug)]
pub struct World {
    rank: usize,
    size: usize,
    /// Not to be sent to another thread: MPI was promised that one thread calls it.
    thread: PhantomData<*const ()>,
}

impl World {
    /// A run on one machine, in one process.
    pub fn alone() -> Self {
        World { rank: 0, size: 1, thread: PhantomData }
    }

    /// The ranks that this process was started with. A process that no launcher has started, or
    /// alone, is [`World::alone`] and never calls MPI.
    ///
    /// # Errors
    /// They cannot talk to each other.
    ///
    /// # Panics
    /// When called twice in one process: a programmer's mistake.
    pub fn open() -> Result<Self> {
        let started = from_environment(&LAUNCHERS);
        let Some(size) = started.filter(|size| *size > 1) else { return Ok(World::alone()) };
        Ok(World { rank: link::join(size)?, size, thread: PhantomData })
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Which of its machine's GPUs is this rank's. `None` in a run of one rank, which may have any.
    pub fn gpu(&self) -> Option<usize> {
        (self.size > 1).then(|| from_environment(&LOCAL_RANKS).unwrap_or(0))
    }

    /// Only this rank writes and talks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Waits for all ranks.
    pub fn wait(&self) {
        if self.size > 1 {
            link::wait();
        }
    }

    /// Compares an object with the first rank's: ranks that do different things would wait for
    /// each other for ever.
    ///
    /// # Errors
    /// This rank's differs; the fields are named. Where it is another rank's that differs, this one
    /// waits for it to end the run.
    pub fn agree(&self, own: &Value) -> Result<()> {
        if self.size == 1 {
            return Ok(());
        }
        let own = serde_json::to_vec(own).expect("plain data");
        let first = self.of_first(&own);
        // Both read back: a number may change in its last bit on the way.
        let [own, first] = [own, first].map(|bytes| serde_json::from_slice(&bytes));
        let differing = match (&own, &first) {
            (Ok(own), Ok(first)) => differing(own, first),
            _ => vec!["it is another version of the program".into()],
        };
        if self.any(!differing.is_empty()) && differing.is_empty() {
            self.wait();
        }
        if differing.is_empty() {
            return Ok(());
        }
        let problem = format!("is not started as the first rank is: {}", differing.join("; "));
        Err(Error::new(format!("rank {}", self.rank), problem)
            .fix("Give all ranks the same options, and the same prepared text and checkpoints."))
    }

    /// What the first rank gives here, on every rank.
    fn of_first(&self, own: &[u8]) -> Vec<u8> {
        let mut length = [if self.is_first() { own.len() as u64 } else { 0 }];
        self.sum(&mut length);
        let mut bytes = vec![0; length[0] as usize];
        if self.is_first() {
            bytes.copy_from_slice(own);
        }
        self.sum(&mut bytes);
        bytes
    }

    /// Does any rank say so?
    pub fn any(&self, here: bool) -> bool {
        if self.size > 1 { link::any(here) } else { here }
    }

    /// Every rank gives its share of the gradients and gets their sum.
    ///
    /// # Errors
    /// The device failed.
    pub(crate) async fn sum_gradients<M: Module>(
        &self,
        network: &M,
        grads: GradientsParams,
    ) -> Result<GradientsParams> {
        if self.size == 1 {
            return Ok(grads);
        }
        let mut reader = Reader { grads: &grads, found: Vec::new(), lengths: Vec::new() };
        network.visit(&mut reader);
        let Reader { found, lengths, .. } = reader;
        let mut summed = Vec::with_capacity(found.len());
        for bucket in buckets(&lengths, BUCKET) {
            let own = Tensor::cat(found[bucket.clone()].to_vec(), 0);
            summed
                .extend(self.sum_tensor(own).await?.split_with_sizes(lengths[bucket].to_vec(), 0));
        }
        let mut writer = Writer { grads, summed: summed.into_iter() };
        network.visit(&mut writer);
        Ok(writer.grads)
    }

    async fn sum_tensor(&self, own: Tensor<1>) -> Result<Tensor<1>> {
        let device = own.device();
        let data = own.into_data_async().await;
        let data = data.map_err(|e| Error::new("reading the gradients back", format!("{e:?}")))?;
        let mut values = data.try_into_vec::<f32>().expect("gradients are f32");
        self.sum(&mut values);
        let length = values.len();
        Ok(Tensor::from_data(TensorData::new(values, [length]), &device))
    }

    /// Replaces each value by its sum over all ranks.
    pub(crate) fn sum<T: link::Number>(&self, values: &mut [T]) {
        if self.size > 1 {
            link::sum(values);
        }
    }
}

impl Drop for World {
    /// Rust has printed the panic's message by now.
    fn drop(&mut self) {
        if self.size > 1 && std::thread::panicking() {
            leave(true);
        }
    }
}

/// The last thing a program does, after its last word on stderr: it leaves the other ranks in
/// peace when all is done, which waits for them, or ends them all, with status 1, when it
/// `failed`. Does nothing in a process that [`World::open`] has found alone.
pub fn leave(failed: bool) {
    link::leave(failed);
}

/// The first of these variables that holds a number.
fn from_environment(names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok())
}

/// The fields that are not the same in both, in words.
fn differing(own: &Value, first: &Value) -> Vec<String> {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (own, first) = (fields(own), fields(first));
    let keys = first.keys().chain(own.keys().filter(|key| !first.contains_key(*key)));
    let value = |fields: &serde_json::Map<String, Value>, key: &String| {
        fields.get(key).map_or("not given".to_string(), Value::to_string)
    };
    let keys = keys.filter(|key| own.get(*key) != first.get(*key));
    keys.map(|key| format!("{key} is {}, there {}", value(&own, key), value(&first, key))).collect()
}

/// Neighbours together, until there are `least` elements: ranges of `lengths`.
fn buckets(lengths: &[usize], least: usize) -> Vec<Range<usize>> {
    let (mut buckets, mut start, mut held) = (Vec::new(), 0, 0);
    for (i, length) in lengths.iter().enumerate() {
        held += length;
        if held >= least || i + 1 == lengths.len() {
            buckets.push(start..i + 1);
            (start, held) = (i + 1, 0);
        }
    }
    buckets
}

/// Collects the gradients, flat.
struct Reader<'a> {
    grads: &'a GradientsParams,
    found: Vec<Tensor<1>>,
    lengths: Vec<usize>,
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else { return };
        self.lengths.push(grad.shape().iter().product());
        self.found.push(grad.flatten(0, D - 1));
    }
}

/// Puts the sums where the gradients were, in the order they were collected.
struct Writer {
    grads: GradientsParams,
    summed: std::vec::IntoIter<Tensor<1>>,
}

impl ModuleVisitor for Writer {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return };
        let summed = self.summed.next().expect("a sum for every gradient");
        self.grads.register(param.id, summed.reshape::<D, _>(grad.shape()));
    }
}

/// MPI, for a world of more than one.
#[cfg(feature = "mpi")]
mod link {
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use mpi::collective::SystemOperation;
    use mpi::environment::{Universe, library_version};
    use mpi::topology::SimpleCommunicator;
    use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};
    use mpi::{Threading, initialize_with_threading};

    use crate::error::{Error, Result};

    /// What is sent at once: MPI sums it beside the original, and counts in 32 bits.
    const BYTES: usize = 4 << 20;

    /// How long a rank that has failed waits before it ends the run.
    const TO_BE_READ: Duration = Duration::from_millis(200);

    /// MPI says good-bye when this is dropped, which waits for all ranks: so it outlives a
    /// [`super::World`], which an error may drop while the others are at work.
    static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

    pub trait Number: Equivalence + Copy {}
    impl<T: Equivalence + Copy> Number for T {}

    fn ranks() -> SimpleCommunicator {
        SimpleCommunicator::world()
    }

    /// The rank of this process among the `started` ones.
    pub fn join(started: usize) -> Result<usize> {
        let (universe, threads) =
            initialize_with_threading(Threading::Funneled).expect("MPI is opened once");
        *UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner) = Some(universe);
        let found = ranks().size() as usize;
        if found != started {
            let problem = format!("{started} ranks were started, but they see {found}");
            return Err(Error::new("MPI", problem).fix(format!(
                "Start them with the mpirun of the MPI that this program uses: {}",
                library_version().unwrap_or_default().split(',').next().unwrap_or_default()
            )));
        }
        if threads < Threading::Funneled {
            return Err(Error::new("MPI", "the library does not allow a program to have threads")
                .fix("Install an MPI with at least MPI_THREAD_FUNNELED, as Open MPI has."));
        }
        Ok(ranks().rank() as usize)
    }

    pub fn wait() {
        ranks().barrier();
    }

    pub fn any(here: bool) -> bool {
        let mut any = false;
        ranks().all_reduce_into(&here, &mut any, SystemOperation::logical_or());
        any
    }

    pub fn sum<T: Number>(values: &mut [T]) {
        for part in values.chunks_mut(BYTES / size_of::<T>()) {
            let own = part.to_vec();
            ranks().all_reduce_into(&own[..], part, SystemOperation::sum());
        }
    }

    pub fn leave(failed: bool) {
        let Some(universe) = UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        if failed {
            // mpirun drops what it has not read yet of what a rank said last: why it failed.
            std::thread::sleep(TO_BE_READ);
            ranks().abort(1);
        }
        // The last rank may still fail: abort while others are inside MPI_Finalize has been seen
        // to hang Open MPI's mpirun. So nobody goes there before all have got here.
        wait();
        drop(universe);
    }
}

/// Without MPI there is no other rank: `join` sees to it that the rest is not reached.
#[cfg(not(feature = "mpi"))]
mod link {
    use crate::error::{Error, Result};

    pub trait Number {}
    impl<T> Number for T {}

    pub fn join(started: usize) -> Result<usize> {
        let problem =
            format!("{started} ranks were started, but this program was built without MPI");
        Err(Error::new("MPI", problem)
            .fix("Build it with: ./build.sh native --features mpi, or start it without mpirun."))
    }

    pub fn wait() {}

    pub fn any(here: bool) -> bool {
        here
    }

    pub fn sum<T: Number>(_values: &mut [T]) {}

    pub fn leave(_failed: bool) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_between_ranks_is_named() {
        let first = json!({"seed": 1, "steps": 20, "resume": true});
        let own = json!({"steps": 20, "seed": 2, "text": "a"});
        let found = differing(&own, &first);
        let words = [
            "seed is 2, there 1",
            "resume is not given, there true",
            "text is \"a\", there not given",
        ];
        assert_eq!(found, words);
        assert!(differing(&own, &own).is_empty());
    }

    #[test]
    fn a_run_alone_agrees_with_itself_and_has_no_gpu_of_its_own() {
        let world = World::alone();
        world.agree(&json!({"seed": 1})).unwrap();
        assert_eq!(world.gpu(), None);
    }
}
