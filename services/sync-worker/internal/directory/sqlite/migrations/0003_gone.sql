-- Who is gone is asked for in each run.
CREATE INDEX people_gone ON people (tenant, id) WHERE gone_at IS NOT NULL;
