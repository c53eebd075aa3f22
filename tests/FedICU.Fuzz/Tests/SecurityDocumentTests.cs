using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;

namespace FedICU.Fuzz.Tests;

/// <summary>Tests that the limits in docs/security.md equal those of the code.</summary>
internal sealed partial class SecurityDocumentTests
{
    private static readonly Assembly[] Assemblies = [typeof(RoundOptions).Assembly, typeof(Fedn.Npz.NpzReader).Assembly,
        typeof(Cli.Program).Assembly];

    private static IEnumerable<TestCaseData> Limits() => Rows().Select(row =>
        new TestCaseData(row.Groups["type"].Value, row.Groups["member"].Value, row.Groups["value"].Value)
            .SetName($"TheLimitIs{row.Groups["type"].Value}{row.Groups["member"].Value}"));

    [TestCaseSource(nameof(Limits))]
    public void TheDocumentedLimitIsTheCodesLimit(string type, string member, string value)
    {
        double expected = double.Parse(value.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
        Assert.That(Value(type, member), Is.EqualTo(expected));
    }

    [Test]
    public void TheTableOfLimitsIsFound() => Assert.That(Rows().Count(), Is.GreaterThan(15));

    private static double Value(string type, string member)
    {
        Type owner = Assemblies.SelectMany(assembly => assembly.GetTypes()).First(known => known.Name == type);
        const BindingFlags Any = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance;
        object? value = owner.GetField(member, Any)?.GetRawConstantValue() ?? owner.GetProperty(member,
            Any)!.GetValue(Activator.CreateInstance(owner));
        return value is TimeSpan time ? time.TotalSeconds : Convert.ToDouble(value, CultureInfo.InvariantCulture);
    }

    private static IEnumerable<Match> Rows()
    {
        DirectoryInfo? root = new(AppContext.BaseDirectory);
        while (root is not null && !File.Exists(Path.Combine(root.FullName, "FedICU.Core.sln")))
            root = root.Parent;
        return root is null ? [] : RowPattern().Matches(File.ReadAllText(Path.Combine(root.FullName, "docs", "security.md")));
    }

    // | what | 1,000 bytes | [`Type.Member`](file.cs) |
    [GeneratedRegex(@"^\|[^|]+\|\s*(?<value>[\d,]+)[^|]*\|\s*\[`(?<type>\w+)\.(?<member>\w+)`\]\([^)]+\)\s*\|", RegexOptions.Multiline)]
    private static partial Regex RowPattern();
}
