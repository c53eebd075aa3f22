using System.Collections.Concurrent;
using NUnit.Framework.Interfaces;

[assembly: FedICU.Testing.SkippedTests]

namespace FedICU.Testing;

/// <summary>
/// Prints at the end why tests were skipped, one line a reason. The test runner itself lists only the skipped tests'
/// names.
/// </summary>
[AttributeUsage(AttributeTargets.Assembly)]
internal sealed class SkippedTestsAttribute : Attribute, ITestAction
{
    private readonly ConcurrentDictionary<string, int> _reasons = new();

    public ActionTargets Targets => ActionTargets.Test | ActionTargets.Suite;

    public void BeforeTest(ITest test) { }

    public void AfterTest(ITest test)
    {
        TestContext.ResultAdapter result = TestContext.CurrentContext.Result;
        if (!test.IsSuite && result.Outcome.Status == TestStatus.Skipped)
            _reasons.AddOrUpdate(result.Message, 1, (_, count) => count + 1);
        // the assembly's suite ends last; at its default verbosity the runner shows only the error stream
        if (test.Parent is not null)
            return;
        foreach ((string reason, int count) in _reasons.OrderBy(pair => pair.Key, StringComparer.Ordinal))
            TestContext.Error.WriteLine($"{count} {(count == 1 ? "test" : "tests")} skipped: {reason}");
    }
}
