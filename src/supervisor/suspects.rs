//! Which requests workers died of.

/// Deaths while a request was tried alone that convict it. One may be a coincidence: of a new
/// request that had just come, or of work in the background.
const CONVICTING: u32 = 2;
/// More such requests are no accident any more; the limit on deaths is what ends that.
const MOST: usize = 64;

/// Requests by their fingerprints, and how many workers died while each was tried.
#[derive(Debug)]
pub(super) struct Suspects(Vec<(u64, u32)>);

impl Suspects {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(MOST))
    }

    pub(super) fn died_trying(&mut self, request: u64) {
        if let Some((_, deaths)) = self.0.iter_mut().find(|(known, _)| *known == request) {
            *deaths += 1;
        } else if self.0.len() < MOST {
            self.0.push((request, 1));
        }
    }

    /// Forgets those that are not convicted.
    pub(super) fn forgive(&mut self) {
        self.0.retain(|(_, deaths)| *deaths >= CONVICTING);
    }

    /// Those that no worker may carry out any more.
    pub(super) fn condemned(&self) -> Vec<u64> {
        self.0.iter().filter(|(_, deaths)| *deaths >= CONVICTING).map(|(request, _)| *request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_death_is_no_proof() {
        let mut suspects = Suspects::new();
        suspects.died_trying(1);
        suspects.died_trying(2);
        assert!(suspects.condemned().is_empty());
        suspects.died_trying(1);
        assert_eq!(suspects.condemned(), [1]);
        suspects.forgive();
        suspects.died_trying(2);
        assert_eq!(suspects.condemned(), [1], "what was forgiven counts no more");
        suspects.died_trying(2);
        assert_eq!(suspects.condemned(), [1, 2]);
    }

    #[test]
    fn they_are_bounded() {
        let mut suspects = Suspects::new();
        for request in (0..1000).chain(0..1000) {
            suspects.died_trying(request);
        }
        assert_eq!(suspects.condemned().len(), MOST);
    }
}
