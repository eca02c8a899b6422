package assertion

import "testing"

// A path takes time in proportion to the document, which the target writes: its filters do not
// search all of it for each node.
func TestFiltersDoNotSearchTheWholeDocument(t *testing.T) {
	t.Parallel()
	for path, refused := range map[string]bool{
		`$[?count($..*) > 1]`:               true,
		`$[?count($[*]) > 1]`:               true,
		`$.a[?$[?$[?@ == 1]]]`:              true,
		`$[?@.a == 1 && $.b[0]['c'][?@.d]]`: true,
		`$[?length(value($.a.*)) > 1]`:      true,
		`$.items[?@.id == $.default]`:       false,
		`$[?@.id == $['a.b'][0].c]`:         false,
		`$[?@.price < $.limit && @.on]`:     false,
		`$[?@.price=="$..*"]`:               false,
		`$[?@.tags[?@ == 'x']]`:             false,
		`$..book[?@.price < 10]`:            false,
		`$['$..']`:                          false,
		`$`:                                 false,
	} {
		if _, err := parsePath(path); (err != nil) != refused {
			t.Errorf("%s: %v", path, err)
		}
	}
}
