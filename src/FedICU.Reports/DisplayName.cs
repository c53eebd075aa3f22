using FedICU.Text;

namespace FedICU.Reports;

/// <summary>
/// Names from reports as the page carries them. The page shows them cut, with this text in a title.
/// </summary>
internal static class DisplayName
{
    // characters, chosen: more than any real name, few enough for a page of thousands of them
    private const int Longest = 2000;

    /// <summary>Returns a name with its control and direction characters escaped.</summary>
    public static string Full(string name) => Sentence.Clean(name, Longest);
}
