package strictjson

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Missing says that a name is not known, and which known ones it resembles.
func Missing(kind, name string, known []string) string {
	text := fmt.Sprintf("there is no %s %q", kind, name)
	if near := nearest(name, known); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, ", ") + "?"
	}
	return text
}

// nearest gives at most three names that differ from name in half of its letters
// and no more than three, nearest first.
func nearest(name string, known []string) []string {
	type near struct {
		name     string
		distance int
	}
	limit := min(3, (utf8.RuneCountInString(name)+1)/2)
	var found []near
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k), limit); d <= limit {
			found = append(found, near{k, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.distance - b.distance })
	var names []string
	for _, f := range found[:min(3, len(found))] {
		names = append(names, f.name)
	}
	return names
}

// distance is how many letters must be put in, taken out or replaced to turn a
// into b; when more than limit, any number above it.
func distance(a, b string, limit int) int {
	ra, rb := []rune(a), []rune(b)
	if d := len(ra) - len(rb); d > limit || -d > limit {
		return limit + 1
	}
	row := make([]int, len(rb)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range ra {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range rb {
			change := diagonal
			if x != y {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(rb)]
}
