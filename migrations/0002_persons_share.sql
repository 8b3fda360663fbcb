-- What people cause is counted beside the whole, so that it never uses up what is a backend's.
--
-- persons_count: how many of the notifications of sent_day the tokens of persons caused; earlier_persons_count: of earlier_day. A row from
-- before begins with none, so that nobody is held back for what was not counted.
ALTER TABLE users ADD COLUMN persons_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN earlier_persons_count BIGINT NOT NULL DEFAULT 0;

-- Whether a person set the deadline: the alerts to it are then caused by a person as well. Of jobs from before nobody knows, and they
-- count as a backend's.
ALTER TABLE jobs ADD COLUMN deadline_by_person BOOLEAN NOT NULL DEFAULT false;
