//! Data-parallel training: every rank computes the gradients of its own examples, and all of
//! them take the sum.
//!
//! With the feature `mpi` the ranks are those of `mpirun`, on one machine or many. Without it
//! there is one rank, and nothing here costs anything.

use burn::module::Module;
use burn::optim::GradientsParams;

use crate::error::Result;
use crate::pretrain::batch::Totals;

/// All ranks of a run, and which one this is.
#[derive(Debug, Default)]
pub struct World {}

impl World {
    /// A run on one machine, in one process.
    pub fn alone() -> Self {
        World::default()
    }

    /// The ranks that this process was started with.
    ///
    /// # Errors
    /// They cannot talk to each other.
    pub fn open() -> Result<Self> {
        Ok(World::alone())
    }

    pub fn rank(&self) -> usize {
        0
    }

    pub fn size(&self) -> usize {
        1
    }

    /// Only this rank writes and talks.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Waits for all ranks.
    pub fn wait(&self) {}

    /// Does any rank say so?
    pub fn any(&self, here: bool) -> bool {
        here
    }

    pub(crate) fn sum_totals(&self, _totals: &mut Totals) {}

    pub(crate) fn sum_losses(&self, _losses: &mut [f32]) {}

    pub(crate) async fn sum_gradients<M: Module>(
        &self,
        _network: &M,
        grads: GradientsParams,
    ) -> Result<GradientsParams> {
        Ok(grads)
    }
}
