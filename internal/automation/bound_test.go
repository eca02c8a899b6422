package automation

import (
	"strings"
	"testing"
	"time"
)

// What an expression may cost bounds its memory too: each of these can be saved, would take
// up to gigabytes, and ends with a reason instead.
func TestExpressionsAreBoundInMemory(t *testing.T) {
	t.Parallel()
	hundred := strings.Repeat("a", 100)
	for name, text := range map[string]string{
		"replace":  `"a"` + strings.Repeat(`.replace("a", "`+hundred+`")`, 5),
		"join":     `[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, [1,2,3,4,5,6,7,8,9].map(d, "` + hundred + hundred + `").join()).join()).join()).join().replace("a", "` + hundred + `")`,
		"split":    `("` + hundred + `".replace("a", "` + hundred + `").replace("a", "` + hundred + `")).split("")`,
		"range":    `lists.range(1000000000)`,
		"flatten":  `lists.range(100000).map(x, lists.range(100000)).flatten()`,
		"json":     `json(lists.range(1000000))`,
		"sort":     `lists.range(1000000).sort()`,
		"distinct": `lists.range(1000000).distinct()`,
	} {
		e, err := compileExpression(text, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = e.eval(&scope{now: time.Unix(0, 0), trigger: "t"})
		if err == nil || !strings.Contains(err.Error(), "takes too much work") && !strings.Contains(err.Error(), "exceeds maximum allowed") {
			t.Errorf("%s gave %v", name, err)
		}
	}
}
