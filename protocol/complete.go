package protocol

import "encoding/json"

// complete returns what is to be encoded: the message, with every list and object
// that the other end takes for granted present. The original agent reads
// assignments.length of whatever arrives (A.3). The message itself is left
// alone, because one message may be on its way to several satellites.
func complete(m Message) any {
	switch m := m.(type) {
	case *Authenticate:
		if m.Perigee != nil && m.Perigee.Features == nil {
			full, hello := *m, *m.Perigee
			hello.Features = []string{}
			full.Perigee = &hello
			return &full
		}
	case *Authenticated:
		full := *m
		full.Assignments = completed(m.Assignments)
		if m.Perigee != nil && m.Perigee.Features == nil {
			welcome := *m.Perigee
			welcome.Features = []string{}
			full.Perigee = &welcome
		}
		return &full
	case *ConfigUpdated:
		full := *m
		full.Assignments = completed(m.Assignments)
		return &full
	case *Delta:
		if m.Upserts != nil {
			full := *m
			full.Upserts = completed(m.Upserts)
			return &full
		}
	case *RunNow:
		if m.Assignment != nil {
			full := *m
			full.Assignment = &completed([]Assignment{*m.Assignment})[0]
			return &full
		}
	case *Try:
		full := *m
		full.Assignment = completed([]Assignment{m.Assignment})[0]
		return &full
	case *ScriptPackageManifest:
		if m.Entries == nil {
			return &ScriptPackageManifest{LockfileHash: m.LockfileHash, Entries: []ManifestEntry{}, Error: m.Error}
		}
	case *Results:
		if m.Records == nil {
			return &Results{Records: []Record{}}
		}
	}
	return m
}

// completed returns the assignments with a config in every place that needs one.
// It copies only where something is missing.
func completed(all []Assignment) []Assignment {
	if all == nil {
		return []Assignment{}
	}
	empty := json.RawMessage("{}")
	copied := false
	for i := range all {
		a := &all[i]
		lacking := a.Config == nil
		for _, c := range a.Collectors {
			lacking = lacking || c.Config == nil
		}
		if !lacking {
			continue
		}
		if !copied {
			all, copied = append([]Assignment(nil), all...), true
			a = &all[i]
		}
		if a.Config == nil {
			a.Config = empty
		}
		a.Collectors = append([]Collector(nil), a.Collectors...)
		for j := range a.Collectors {
			if a.Collectors[j].Config == nil {
				a.Collectors[j].Config = empty
			}
		}
	}
	return all
}
