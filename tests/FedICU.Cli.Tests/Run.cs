namespace FedICU.Cli.Tests;

/// <summary>The exit code and the output of a run of the tool.</summary>
internal sealed record Run(int Code, string Output, string Error)
{
    /// <summary>Asserts that the run succeeded and wrote nothing to the error stream.</summary>
    public Run Succeeded()
    {
        Assert.That((Code, Error), Is.EqualTo((0, "")));
        return this;
    }

    /// <summary>
    /// Asserts that the run ended with the code, printed nothing but one sentence, and that this contains all parts.
    /// </summary>
    public Run Failed(int code, params string[] parts)
    {
        Assert.That(Error, Does.StartWith("fedicu: ").And.EndWith(Environment.NewLine));
        Assert.That(Error.TrimEnd(), Does.Not.Contain('\n').And.Not.Contain("should not have happened"));
        foreach (string part in parts)
            Assert.That(Error, Does.Contain(part));
        Assert.That((Code, Output), Is.EqualTo((code, "")));
        return this;
    }

    public string[] Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>Gets the cells of the first line that begins with a text.</summary>
    public string[] Cells(string first) => Lines.First(line => line.StartsWith(first, StringComparison.Ordinal))
        .Split("  ", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
