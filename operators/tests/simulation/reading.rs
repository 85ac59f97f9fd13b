//! What the broker tells a life, what the life loses to retention, and when it has to refuse to go on.

use strandline_operators::job::OnGap;
use strandline_operators::positions::{PartitionFacts, TopicMetadata};
use strandline_operators::progress::Progress;

use crate::broker::{TOPIC, source};
use crate::world::{InFlight, Mutation, State};

/// Why a life that nobody has fenced may refuse to go on, as it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// Retention has passed it, and nobody has said yet that it shall go on behind the loss.
    Lost,
    /// Another topic has the name.
    OtherTopic,
}

impl State {
    pub fn any_partition(&mut self) -> usize {
        self.seeded.below(self.broker.partitions() as u64) as usize
    }

    pub fn retention_passes(&mut self, partition: usize) {
        let log_start = self.broker.retain(partition, &mut self.seeded);
        self.note(format!(
            "retention: {} begins at {log_start}",
            source(partition)
        ));
    }

    pub fn replace_topic(&mut self) {
        self.broker.replace_topic(&mut self.seeded);
        self.note("the topic is deleted, and created again".to_owned());
    }

    /// What the broker says when a life asks before it claims. Whether the life has to refuse is known from here on.
    pub fn describe_topic(
        &mut self,
        life: usize,
        on_gap: OnGap,
        progress: &Progress,
    ) -> (TopicMetadata, Vec<PartitionFacts>) {
        let (mut topic, facts) = self.broker.describe();
        let log_starts = facts.iter().map(|fact| fact.log_start).collect();
        self.log_starts.insert(life, log_starts);
        let is_lost = |fact: &PartitionFacts| {
            let known = progress.partition(&fact.source);
            known.is_some_and(|known| known.next < fact.log_start)
        };
        let known = progress.topics.get(TOPIC);
        let id_then = known.and_then(|known| known.topic_id.as_deref());
        let is_other = id_then.is_some_and(|id| id != self.broker.topic_id());
        self.grounds.remove(&life);
        if is_other {
            self.grounds.insert(life, Grounds::OtherTopic);
        } else if on_gap == OnGap::Stop && facts.iter().any(is_lost) {
            self.grounds.insert(life, Grounds::Lost);
        }
        if self.mutation == Some(Mutation::TopicIdIgnored) {
            topic.id = progress.topics.get(TOPIC).and_then(|t| t.topic_id.clone());
        }
        (topic, facts)
    }

    /// A life has claimed. One that had to refuse must not.
    pub fn claimed(&mut self, life: usize, generation: u32) {
        self.generations.insert(life, generation);
        if let Some(grounds) = self.grounds.get(&life) {
            self.break_off(format!("life {life} went on, but {grounds:?}"));
        }
    }

    /// Whether a life that refuses to go on has to, for the reason that it gives; what an operator does then is done.
    pub fn refuses_rightly(&mut self, life: usize, message: &str) -> bool {
        let Some(grounds) = self.grounds.remove(&life) else {
            return false;
        };
        let reason = match grounds {
            Grounds::Lost => ["retention passed us", "is not on the broker"],
            Grounds::OtherTopic => ["was deleted and created again", "the log was truncated"],
        };
        if !reason.iter().any(|words| message.contains(words)) {
            return false;
        }
        self.mishaps.refusals += 1;
        match grounds {
            Grounds::Lost => {
                self.note("OPERATOR sets on_gap: record".to_owned());
                self.on_gap = OnGap::Record;
            }
            Grounds::OtherTopic => {
                self.refusals_left = self.refusals_left.saturating_sub(1);
                if self.refusals_left == 0 {
                    self.note("OPERATOR stops everything and gives the topic back".to_owned());
                    self.is_all_stopped = true;
                    self.broker.restore_topic();
                }
            }
        }
        true
    }

    pub fn is_lost(&self, partition: i32, offset: i64) -> bool {
        let lost = &self.lost[partition as usize];
        lost.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// Notes what a commit passes over that the broker no longer held when its maker asked.
    pub fn note_losses(&mut self, commit: &InFlight) {
        let log_starts = commit.life.and_then(|life| self.log_starts.get(&life));
        let json = commit.append.properties.get(&Progress::property("test"));
        let (Some(log_starts), Some(json)) = (log_starts.cloned(), json) else {
            return;
        };
        let before = self.progress();
        let after = Progress::parse(json).expect("progress");
        for (partition, log_start) in log_starts.into_iter().enumerate() {
            let source = source(partition);
            let known = before.as_ref().and_then(|p| p.partition(&source));
            let from = known.map_or(0, |known| known.next);
            let next = after.partition(&source).map_or(0, |known| known.next);
            let to = next.min(log_start);
            if from < to {
                self.note(format!("offsets {from} to {to} of {source} are lost"));
                self.mishaps.lost += (to - from) as u64;
                self.lost[partition].push((from, to));
                if known.is_some() {
                    self.lost_while_read.insert(partition as i32);
                }
            }
        }
    }
}
