package store

import "testing"

func TestDialectText(t *testing.T) {
	t.Parallel()
	const shared = `SELECT GREATEST(a, $2) FROM s WHERE id = ANY($1) AND t::jsonb IS NOT NULL AND {threshold} > 0 FOR NO KEY UPDATE OF s SKIP LOCKED`
	for d, want := range map[dialect]string{
		postgres: `SELECT GREATEST(a, $2) FROM s WHERE id = ANY($1) AND t::jsonb IS NOT NULL AND 45000 > 0 FOR NO KEY UPDATE OF s SKIP LOCKED`,
		sqlite:   `SELECT max(a, ?2) FROM s WHERE id IN (SELECT value FROM json_each(?1)) AND t IS NOT NULL AND 45000 > 0`,
	} {
		if got := d.text(shared); got != want {
			t.Errorf("%s says\n%s, want\n%s", d, got, want)
		}
	}
}
