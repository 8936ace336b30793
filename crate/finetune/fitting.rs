//! The settings of a run that nobody gave: they follow from the data and the model.

use serde::{Deserialize, Serialize};

use crate::config::ElectraConfig;
use crate::dataset::Kind;
use crate::train::FinetuneConfig;

/// How much time a run may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    Quick,
    #[default]
    Normal,
    Thorough,
}

/// Settings that fit the data and the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fitting {
    pub epochs: f64,
    pub batch_size: usize,
    pub learning_rate: f64,
}

/// The table of [`Fitting::new`], for a help text.
pub const TABLE: &str = "\
  training rows   below 100  below 300  below 1 000  below 3 000  more
  epochs                 15         10            6            4     3
  batch size              8          8    8, from 500: 16     16    32
and as many more epochs as 120 updates take (of quick runs 80). A quick run has a third of the
epochs, a thorough one twice as many. Where texts have several labels, all is three times as much:
most labels are absent from most texts, and to name none is the first thing that is learnt.
  hidden size         up to 128  up to 256  up to 1023  more
  learning rate            1e-3       5e-4        1e-4  5e-5    below 1 000 rows
                           6e-4       3e-4        1e-4  5e-5    from there on
Of a model without pre-training the rate is that of below 1 000 rows.";

impl Fitting {
    /// For so many training rows.
    pub fn new(kind: Kind, rows: usize, model: &ElectraConfig, effort: Effort) -> Self {
        // To name no label is the first thing that is learnt where most are absent.
        let more = if kind == Kind::MultiLabel { 3.0 } else { 1.0 };
        let batch_size = match rows {
            ..500 => 8,
            500..3000 => 16,
            _ => 32,
        };
        let usual = match rows {
            ..100 => 15.0,
            100..300 => 10.0,
            300..1000 => 6.0,
            1000..3000 => 4.0,
            _ => 3.0,
        };
        let steps = rows.div_ceil(batch_size).max(1) as f64;
        let usual = more * usual;
        let at_least = |updates: f64| (more * updates / steps).ceil();
        let normal = at_least(120.0).max(usual);
        let epochs = match effort {
            Effort::Quick => (usual / 3.0).ceil().max(at_least(80.0)),
            Effort::Normal => normal,
            Effort::Thorough => 2.0 * normal,
        };
        let is_fast = rows < 1000 || model.untrained;
        let learning_rate = match (model.hidden_size, is_fast) {
            (..=128, true) => 1e-3,
            (..=128, false) => 6e-4,
            (..=256, true) => 5e-4,
            (..=256, false) => 3e-4,
            (..=1023, _) => 1e-4,
            _ => 5e-5,
        };
        Fitting { epochs, batch_size, learning_rate }
    }
}

/// Which settings are to be fitted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open {
    pub effort: Effort,
    pub epochs: bool,
    pub batch_size: bool,
    pub learning_rate: bool,
}

impl Open {
    /// The settings of a run on so many training rows.
    pub fn fit(
        self,
        config: &FinetuneConfig,
        kind: Kind,
        rows: usize,
        model: &ElectraConfig,
    ) -> FinetuneConfig {
        let fitting = Fitting::new(kind, rows, model, self.effort);
        let mut config = config.clone();
        if self.epochs {
            config.epochs = fitting.epochs;
        }
        if self.batch_size {
            config.batch_size = fitting.batch_size;
        }
        if self.learning_rate {
            config.learning_rate = fitting.learning_rate;
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(rows: usize, hidden_size: usize, effort: Effort) -> Fitting {
        let model = ElectraConfig { hidden_size, ..ElectraConfig::default() };
        Fitting::new(Kind::Classification, rows, &model, effort)
    }

    fn updates(rows: usize, effort: Effort) -> f64 {
        let Fitting { epochs, batch_size, .. } = fitting(rows, 128, effort);
        rows.div_ceil(batch_size) as f64 * epochs
    }

    #[test]
    fn every_run_has_updates_enough_to_learn() {
        for rows in [4, 20, 51, 60, 255, 300, 499, 850, 1000, 3000, 3600, 50_000] {
            let [quick, normal, thorough] =
                [Effort::Quick, Effort::Normal, Effort::Thorough].map(|e| updates(rows, e));
            assert!(quick >= 80.0, "{rows}: {quick}");
            assert!(normal >= 120.0 && normal >= quick, "{rows}: {normal}");
            assert_eq!(thorough, 2.0 * normal, "{rows}");
        }
    }

    #[test]
    fn few_rows_are_read_more_often_and_large_models_learn_slower() {
        let few = Fitting { epochs: 18.0, batch_size: 8, learning_rate: 1e-3 };
        assert_eq!(fitting(51, 128, Effort::Normal), few);
        let many = Fitting { epochs: 3.0, batch_size: 32, learning_rate: 3e-4 };
        assert_eq!(fitting(9000, 256, Effort::Normal), many);
        assert_eq!(fitting(9000, 256, Effort::Quick).epochs, 1.0);
        assert_eq!(fitting(51, 768, Effort::Normal).learning_rate, 1e-4);
    }

    #[test]
    fn several_labels_are_read_three_times_as_often() {
        let model = ElectraConfig::default();
        for (rows, effort) in [(51, Effort::Quick), (255, Effort::Normal), (9000, Effort::Thorough)]
        {
            let [one, several] = [Kind::Classification, Kind::MultiLabel]
                .map(|kind| Fitting::new(kind, rows, &model, effort));
            assert!((2.5..=3.0).contains(&(several.epochs / one.epochs)), "{rows}: {several:?}");
            assert_eq!(several.learning_rate, one.learning_rate);
        }
    }

    #[test]
    fn what_was_given_stays() {
        let given = FinetuneConfig { batch_size: 5, ..FinetuneConfig::default() };
        let open = Open { epochs: true, ..Open::default() };
        let fitted = open.fit(&given, Kind::Regression, 51, &ElectraConfig::default());
        assert_eq!((fitted.epochs, fitted.batch_size), (18.0, 5));
    }
}
