package catalog

import "github.com/perigee-monitoring/perigee/internal/diff"

// Diff gives the differences of two documents of one kind and name, by path.
func Diff(from, to Document) []diff.Field {
	all := diff.Of("metadata.labels", labels(from.Metadata.Labels), labels(to.Metadata.Labels))
	return append(all, diff.Of("spec", from.Spec, to.Spec)...)
}
