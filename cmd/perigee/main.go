// Command perigee is the core, and the command line of those who run one.
//
//	perigee dev                     a core to try things with
//	perigee serve                   a core
//	perigee status                  how the systems are doing
//	perigee satellite create eu-1   and so on: perigee --help
//
// Commands that ask a core find it by --url or PERIGEE_URL, and show who they are
// with --token-file, PERIGEE_TOKEN_FILE or PERIGEE_TOKEN. What they were asked for
// goes to standard output, as a table for people or, with -o json and -o yaml, as
// the API gives it; everything else goes to standard error.
//
// Exit codes: 0 when all is well, 1 when something failed or a comparison found a
// difference, 2 when the command line or what a comparison is made with is wrong,
// 3 when the core cannot be reached, 4 when it does not know the caller or the
// caller may not do this.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // maintenances come again in time zones, also where the machine knows none

	"github.com/alecthomas/kong"

	"github.com/perigee-monitoring/perigee/internal/stray"
)

// stopWithin is the longest that a stop by a signal may take; then the process
// ends as it is, which loses nothing that was acknowledged.
const stopWithin = 9500 * time.Millisecond

// commandLine is everything that can be written behind the program's name.
type commandLine struct {
	global

	Dev   DevCmd   `cmd:"" group:"core" help:"Run a core with a satellite, targets and checks to try things with."`
	Serve ServeCmd `cmd:"" group:"core" help:"Run a core."`

	Status       StatusCmd       `cmd:"" group:"watch" help:"Show how systems are doing, and on whose word."`
	Result       ResultCmd       `cmd:"" group:"watch" help:"What satellites found."`
	History      HistoryCmd      `cmd:"" group:"watch" help:"How a system did over time: availability and latency."`
	Skip         SkipCmd         `cmd:"" group:"watch" help:"Slots that were due and not run."`
	Event        EventCmd        `cmd:"" group:"watch" help:"What happened, and what happens."`
	Completeness CompletenessCmd `cmd:"" group:"watch" help:"What became of every slot that was due."`
	Verdict      VerdictCmd      `cmd:"" group:"watch" help:"Verdicts on checks, and what they rest on."`
	Incident     IncidentCmd     `cmd:"" group:"watch" help:"Incidents: what is wrong, and what was done about it."`

	Satellite   SatelliteCmd   `cmd:"" group:"define" help:"Satellites and their tokens."`
	System      SystemCmd      `cmd:"" group:"define" help:"Systems: what is watched."`
	Check       CheckCmd       `cmd:"" group:"define" help:"Checks: what is asked of a system."`
	Assignment  AssignmentCmd  `cmd:"" group:"define" help:"Assignments: which check runs for which system from where."`
	Maintenance MaintenanceCmd `cmd:"" group:"define" help:"Maintenances: when which systems may be unwell without an alarm."`
	Channel     ChannelCmd     `cmd:"" group:"define" help:"Channels by which people are told."`
	Automation  AutomationCmd  `cmd:"" group:"define" help:"Automations: what is done when something happens."`

	Package PackageCmd `cmd:"" group:"define" help:"Packages that scripts may import."`
	Secret  SecretCmd  `cmd:"" group:"define" help:"Secrets that checks use."`
	Sandbox SandboxCmd `cmd:"" group:"define" help:"What scripts may do on satellites."`

	User  UserCmd  `cmd:"" group:"admin" help:"Users: who may sign in, and what they may do."`
	Token TokenCmd `cmd:"" group:"admin" help:"API tokens for programs."`
	Audit AuditCmd `cmd:"" group:"admin" help:"Who changed what, and who was refused."`
	About AboutCmd `cmd:"" group:"admin" help:"How the core is: version, database, bus, settings in force."`

	Apply  ApplyCmd  `cmd:"" group:"files" help:"Make the definitions be as files say."`
	Diff   DiffCmd   `cmd:"" group:"files" help:"Show what apply would change."`
	Export ExportCmd `cmd:"" group:"files" help:"Write all definitions as YAML."`
	Import ImportCmd `cmd:"" group:"files" help:"Take over what another core had."`

	Conformance ConformanceCmd `cmd:"" group:"more" help:"Drive a core as an original agent would, or an agent as a core, and say where it does otherwise than the protocol says."`
	Completion  CompletionCmd  `cmd:"" group:"more" help:"Print completions for a shell."`
	Version     VersionCmd     `cmd:"" group:"more" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" hidden:"" help:"Print the version."`
}

func groups() []kong.Group {
	return []kong.Group{
		{Key: "core", Title: "Run a core"},
		{Key: "watch", Title: "Look"},
		{Key: "define", Title: "Define"},
		{Key: "admin", Title: "Administer"},
		{Key: "files", Title: "Definitions as files"},
		{Key: "more", Title: "More"},
		{Key: "global", Title: "For every command that asks a core"},
	}
}

func main() {
	stray.Nowhere() // commands have no log
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the process at once
		time.AfterFunc(stopWithin, func() {
			fmt.Fprintln(os.Stderr, "perigee: the stop took too long")
			os.Exit(exitFailed)
		})
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	var line commandLine
	ended := -1
	parser, err := kong.New(&line,
		kong.Name("perigee"),
		kong.Description("Monitoring whose checks run close to what they watch."),
		kong.Writers(out, errw),
		kong.Exit(func(code int) { ended = code }),
		kong.ExplicitGroups(groups()),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Vars{"version": versionText()},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(out, (*io.Writer)(nil)),
		kong.Bind(&line.global),
		kong.BindSingletonProvider(func() (*app, error) { return newApp(&line.global, in, out, errw) }),
	)
	if err != nil {
		return complain(errw, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	switch {
	case ended >= 0: // --help, --version
		return ended
	case err != nil:
		return complain(errw, misread(args, err))
	}
	if err := command.Run(); err != nil {
		return complain(errw, explain(ctx, err))
	}
	return exitOK
}
