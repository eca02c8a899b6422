package check

// Qualified ids of the browser strategy and its collector. The original has none.
const (
	Browser     = "healthcheck-browser.browser"
	BrowserPage = "healthcheck-browser.page"
)

func init() {
	register(strategy[BrowserConfig](Browser, "Browser", true),
		collector[BrowserPageConfig, BrowserPageResult](BrowserPage, "Page", true))
}

// BrowserConfig is the config of healthcheck-browser.browser: a Chromium where the
// satellite stands. It is in the inventory only of satellites that have one.
type BrowserConfig struct {
	// The most that each page may take, with starting the browser, in milliseconds.
	Timeout float64 `json:"timeout" jsonschema:"title=Timeout (ms),minimum=100"`
}

func (c *BrowserConfig) defaults() { c.Timeout = 30_000 }

// BrowserPageConfig is the config of healthcheck-browser.page: a page that is opened as
// by a person, and what is done on it. Each has a browser without a past.
type BrowserPageConfig struct {
	// What to open.
	URL string `json:"url" jsonschema:"title=URL,required,minLength=1,format=http-url" check:"templatable"`
	// What to do then, one after the other; the first that fails ends it.
	Steps []BrowserStep `json:"steps,omitempty" jsonschema:"title=Steps"`
}

func (c *BrowserPageConfig) defaults() {}

// BrowserStep is one thing that is done on a page.
type BrowserStep struct {
	// wait (until it is visible), click, type, or text (wait until it holds the text).
	Action string `json:"action" jsonschema:"title=Action,required,enum=wait,enum=click,enum=type,enum=text"`
	// CSS selector of the element.
	Selector string `json:"selector" jsonschema:"title=Selector,required,minLength=1" check:"templatable"`
	// What is typed, or the text.
	Value string `json:"value,omitempty" jsonschema:"title=Value" check:"templatable"`
	// What is typed, such as a password.
	Secret string `json:"secret,omitempty" jsonschema:"title=Secret" check:"secret"`
}

// BrowserPageResult is how far it came.
type BrowserPageResult struct {
	Success bool `json:"success"`
	// Of the page at the end.
	Title string `json:"title,omitempty"`
	URL   string `json:"url,omitempty"`
	// Until the page and what it needs was loaded; starting the browser does not count.
	LoadTimeMs float64 `json:"loadTimeMs"`
	// With all steps.
	ResponseTimeMs float64 `json:"responseTimeMs"`
	StepCount      int     `json:"stepCount"`
	StepsPassed    int     `json:"stepsPassed"`
}
