using System.Text;

namespace FolderRounds;

internal sealed partial class FolderWorker
{
    /// <summary>
    /// Moves an aggregated round to <c>done</c> and writes its report there. If the folder cannot be moved, <c>done</c>
    /// gets only the report.
    /// </summary>
    private void MoveToDone(WorkState state)
    {
        string source = Path.Combine(_inbox, state.Round), done = Path.Combine(_done, state.Round);
        if (!Directory.Exists(done))
        {
            try
            {
                Directory.Move(source, done);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                LogNotMoved(state.Round, e.Message);
                Directory.CreateDirectory(done);
            }
        }

        WholeFile.Write(done, RoundFolder.Report, Encoding.UTF8.GetBytes(state.Report!));
        Save(null);
    }

    /// <summary>
    /// Moves a round to <c>failed</c> and writes the reason there. If the folder cannot be moved, each scan tries again
    /// without reading it.
    /// </summary>
    private void MoveToFailed(DirectoryInfo folder, string reason)
    {
        string place = WholeFile.FreePlace(_failed, folder.Name);
        Save(new WorkState { Round = folder.Name, Refusal = reason, Place = Path.GetFileName(place) });
        try
        {
            Move(folder, place);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Save(null);
            if (_unmoved.TryAdd(folder.Name, reason))
                LogNotMovedToFailed(RoundFolder.Escape(folder.Name), reason, e.Message);
            return;
        }

        _unmoved.Remove(folder.Name);
        WriteRefusal(place, reason);
        Save(null);
        LogRefused(RoundFolder.Escape(folder.Name), reason);
    }

    /// <summary>Moves a folder. A symbolic link moves into a new folder, in which the reason can be written.</summary>
    private static void Move(DirectoryInfo folder, string place)
    {
        if (folder.LinkTarget is not null)
        {
            Directory.CreateDirectory(place);
            Directory.Move(folder.FullName, Path.Combine(place, folder.Name));
        }
        else
        {
            Directory.Move(folder.FullName, place);
        }
    }

    private void WriteRefusal(string place, string reason)
    {
        try
        {
            WholeFile.Write(place, RoundFolder.Refusal, Encoding.UTF8.GetBytes(reason + "\n"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // the log contains the reason
            LogReasonNotWritten(place, e.Message);
        }
    }
}
